/** docs/errors.md, made of the table of codes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';
import { filesBelow } from './workspace.ts';

export const errorsDocumentPath = 'docs/errors.md';

const tablePath = 'packages/interface/src/errors';

export interface ErrorArea {
  /** Name of the file that lists it, such as `shard-group`. */
  readonly area: string;
  /** In the order of the file. */
  readonly codes: readonly { readonly code: string; readonly description: string }[];
}

/** Reads the table of codes: the properties with a string value, of every file of it. */
export function readErrorTable(root: string): ErrorArea[] {
  return filesBelow(join(root, tablePath)).map((path) => {
    const text = readFileSync(join(root, tablePath, path), 'utf8');
    const codes: { code: string; description: string }[] = [];
    new Visitor({
      Property({ key, value }) {
        codes.push({ code: text.slice(key.start, key.end), description: stringOf(value) });
      },
    }).visit(parseSync(path, text).program);
    return { area: path.replace(/\.ts$/, ''), codes };
  });
}

function stringOf(node: { readonly type: string; readonly value?: unknown }): string {
  return node.type === 'Literal' && typeof node.value === 'string' ? node.value : '';
}

export function errorsDocument(table: readonly ErrorArea[]): string {
  const lines = [
    '# Error codes',
    '',
    'Every operational error has a `code`. Match errors by it, never by their text: a code never',
    'changes its meaning, a message may. An error whose `fatal` is true stops the apply of a shard.',
    '',
    'This file is made by `pnpm run docs:errors` from `packages/interface/src/errors`.',
  ];
  for (const { area, codes } of table) {
    if (codes.length === 0) continue;
    const rows = codes.map(({ code, description }) => [`\`${code}\``, description]);
    lines.push('', `## ${area}`, '', ...alignedTable([['code', 'condition'], ...rows]));
  }
  return `${lines.join('\n')}\n`;
}

/** A Markdown table as the formatter lays it out; the first row is the head. */
function alignedTable(rows: readonly (readonly string[])[]): string[] {
  const escaped = rows.map((row) => row.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = (escaped[0] ?? []).map((_, n) =>
    Math.max(...escaped.map((row) => row[n]?.length ?? 0)),
  );
  const [head = '', ...body] = escaped.map(
    (row) => `| ${row.map((cell, n) => cell.padEnd(widths[n] ?? 0)).join(' | ')} |`,
  );
  return [head, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...body];
}
