/** What a program of a rig told; see say.ts. */

export interface Told {
  readonly started: readonly string[];
  readonly acknowledged: readonly string[];
  /** Codes, in order. */
  readonly failed: readonly string[];
  /** Codes of refusals that may be those of the file system. */
  readonly refused: readonly string[];
  readonly isDone: boolean;
}

/** A line that was cut off counts for nothing. */
export function readTold(output: string): Told {
  const lines = output.split('\n').slice(0, -1);
  const all = (word: string): string[] =>
    lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
  return {
    started: all('started'),
    acknowledged: all('acknowledged'),
    failed: all('failed'),
    refused: all('refused'),
    isDone: lines.includes('done'),
  };
}

/** The highest number that was told after a word; `none` where there was no such line. */
export function highest(lines: readonly string[], word: string, none: bigint): bigint {
  let found = none;
  for (const line of lines) {
    if (!line.startsWith(`${word} `)) continue;
    const number = BigInt(line.slice(word.length + 1));
    if (number > found) found = number;
  }
  return found;
}
