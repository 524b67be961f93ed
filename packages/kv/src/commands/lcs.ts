/** LCS: the longest common subsequence of two strings. */
import { errorReply, type Reply } from '@raftseal/interface';
import { parsePosition } from '../integer.ts';
import { notAnInteger, syntaxError } from '../replies.ts';
import { type Arguments, at, type Handler, stringAt } from './handler.ts';

/** The table takes 4 bytes a cell, and the time of the event loop. */
const CELLS_MAX = 2 ** 24;

interface LcsOptions {
  len: boolean;
  idx: boolean;
  withMatchLength: boolean;
  matchLengthMin: number;
}

interface Match {
  readonly left: readonly [number, number];
  readonly right: readonly [number, number];
  readonly length: number;
}

function parseOptions(args: Arguments): LcsOptions | { refused: Reply } {
  const options = { len: false, idx: false, withMatchLength: false, matchLengthMin: 0 };
  for (let i = 3; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    if (word === 'IDX') {
      options.idx = true;
    } else if (word === 'LEN') {
      options.len = true;
    } else if (word === 'WITHMATCHLEN') {
      options.withMatchLength = true;
    } else if (word === 'MINMATCHLEN' && i + 1 < args.length) {
      const length = parsePosition(at(args, ++i));
      if (length === undefined) return { refused: notAnInteger };
      options.matchLengthMin = Math.max(0, length);
    } else {
      return { refused: syntaxError };
    }
  }
  if (options.idx && options.len) {
    return {
      refused: errorReply('ERR If you want both the length and indexes, please just use IDX.'),
    };
  }
  return options;
}

/** `table[i * width + j]`: the length for the first i chars of one and j of the other. */
function lengths(left: string, right: string): Uint32Array {
  const width = right.length + 1;
  const table = new Uint32Array((left.length + 1) * width);
  for (let i = 1; i <= left.length; i++) {
    const code = left.charCodeAt(i - 1);
    const row = i * width;
    for (let j = 1; j < width; j++) {
      const above = table[row - width + j] ?? 0;
      const before = table[row + j - 1] ?? 0;
      table[row + j] =
        right.charCodeAt(j - 1) === code
          ? (table[row - width + j - 1] ?? 0) + 1
          : Math.max(above, before);
    }
  }
  return table;
}

/** Walks the table from its end: the subsequence, and its runs from last to first. */
function trace(left: string, right: string, table: Uint32Array): { text: string; runs: Match[] } {
  const width = right.length + 1;
  const chars: string[] = [];
  const runs: Match[] = [];
  let run = 0;
  let i = left.length;
  let j = right.length;
  const endRun = (): void => {
    if (run === 0) return;
    runs.push({ left: [i, i + run - 1], right: [j, j + run - 1], length: run });
    run = 0;
  };
  while (i > 0 && j > 0) {
    if (left[i - 1] === right[j - 1]) {
      chars.push(left[i - 1] ?? '');
      i--;
      j--;
      run++;
    } else {
      endRun();
      const above = table[(i - 1) * width + j] ?? 0;
      const before = table[i * width + j - 1] ?? 0;
      if (above > before) i--;
      else j--;
    }
  }
  endRun();
  return { text: chars.reverse().join(''), runs };
}

function matches(runs: readonly Match[], options: LcsOptions, length: number): Reply {
  const listed = runs
    .filter((run) => run.length >= options.matchLengthMin)
    .map(({ left, right, length: matchLength }): Reply => {
      const ranges: Reply[] = [[...left], [...right]];
      return options.withMatchLength ? [...ranges, matchLength] : ranges;
    });
  return {
    kind: 'map',
    entries: [
      ['matches', listed],
      ['len', length],
    ],
  };
}

const lcs: Handler = (keyspace, args) => {
  const left = stringAt(keyspace, at(args, 1));
  const right = stringAt(keyspace, at(args, 2));
  if (left === null || right === null) {
    return errorReply('ERR The specified keys must contain string values');
  }
  const options = parseOptions(args);
  if ('refused' in options) return options.refused;
  const first = left ?? '';
  const second = right ?? '';
  if ((first.length + 1) * (second.length + 1) > CELLS_MAX) {
    return errorReply(
      'ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len',
    );
  }
  const table = lengths(first, second);
  const length = table[table.length - 1] ?? 0;
  if (options.len) return length;
  const { text, runs } = trace(first, second, table);
  return options.idx ? matches(runs, options, length) : text;
};

export const lcsHandlers: Readonly<Record<string, Handler>> = { lcs };
