/**
 * The files of an audit trail: `<sequence of the first record>.jsonl`, twenty digits, in the folder
 * `audit` of the data directory. The folder is 0700, files 0600. Only the last file is written to.
 * It may end in the middle of a line where a write was cut short: what is behind its last line end
 * was never relied on.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '@raftseal/interface';

const NAME = /^(\d{20})\.jsonl$/;
const LINE_END = 0x0a;

export function trailFileName(firstSequence: number): string {
  return `${String(firstSequence).padStart(20, '0')}.jsonl`;
}

/** Ascending; none where there is no folder. */
export async function trailFileNames(directory: string): Promise<readonly string[]> {
  try {
    return (await readdir(directory)).filter((name) => NAME.test(name)).toSorted();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

export interface TrailFile {
  readonly name: string;
  readonly firstSequence: number;
  /** Without their line ends. */
  readonly lines: readonly Buffer[];
  /** Bytes of whole lines. */
  readonly byteLength: number;
  /** What is behind the last line end. */
  readonly rest: Buffer;
}

export async function readTrailFile(directory: string, name: string): Promise<TrailFile> {
  const bytes = await readFile(join(directory, name));
  const lines: Buffer[] = [];
  let start = 0;
  for (let end = bytes.indexOf(LINE_END); end >= 0; end = bytes.indexOf(LINE_END, start)) {
    lines.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return {
    name,
    firstSequence: Number(NAME.exec(name)?.[1]),
    lines,
    byteLength: start,
    rest: bytes.subarray(start),
  };
}
