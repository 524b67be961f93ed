/** What the mains of the rigs read from their command lines. */

export function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new RangeError(`--${name}: expected a whole number from 1 on, found ${text}`);
}

/** @throws RangeError for another word than one of those */
export function oneOf<Word extends string>(
  name: string,
  words: readonly Word[],
  text: string,
): Word {
  const word = words.find((known) => known === text);
  if (word !== undefined) return word;
  throw new RangeError(`--${name}: expected one of ${words.join(', ')}, found ${text}`);
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
