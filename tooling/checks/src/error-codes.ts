/**
 * One table of error codes (packages/interface/src/errors), the codes that the sources raise and
 * the ones that comments and documents name: all the same set.
 *
 * A code is raised where it stands as a string that is not merely compared with. The names of
 * environment variables look like codes; they stand as properties of an `env`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Node, Visitor } from 'oxc-parser';
import { errorsDocument, errorsDocumentPath, readErrorTable } from './errors-document.ts';
import { place, type SourceFile } from './source-file.ts';
import { filesBelow, type Workspace } from './workspace.ts';

const CODE = /\bRAFTSEAL(?:_[A-Z0-9]+)+_?/g;
const isCode = (text: string): boolean => /^RAFTSEAL(_[A-Z0-9]+){2,}$/.test(text);

/** Codes of a port that only adapters outside this repository raise, and when. */
const reserved: Readonly<Record<string, string>> = {};

interface Mention {
  readonly code: string;
  readonly place: string;
}

export function checkErrorCodes(workspace: Workspace): string[] {
  const table = readErrorTable(workspace.root);
  const listed = new Set<string>();
  const findings: string[] = [];
  for (const { area, codes } of table) {
    const prefix = `RAFTSEAL_${area.toUpperCase().replaceAll('-', '_')}_`;
    for (const { code, description } of codes) {
      if (listed.has(code)) findings.push(`${code} is listed twice`);
      if (!isCode(code) || !code.startsWith(prefix)) {
        findings.push(`errors/${area}.ts lists ${code}: expected ${prefix}<CONDITION>`);
      }
      if (description.trim() === '') findings.push(`${code} has no description`);
      listed.add(code);
    }
  }

  const sources = workspace.packages
    .filter(({ kind }) => kind !== 'tool')
    .flatMap(({ sources }) => sources)
    .filter(({ name }) => !name.startsWith('packages/interface/src/errors/'));
  const found = sources.map(codesOf);
  const raised = found.flatMap((each) => each.raised);
  const variables = new Set(found.flatMap((each) => each.variables));
  const raisedCodes = new Set(raised.map(({ code }) => code));

  for (const { code, place } of raised) {
    if (!listed.has(code)) findings.push(`${place} raises ${code}, which no table lists`);
  }
  for (const code of listed) {
    if (raisedCodes.has(code) === (reserved[code] === undefined)) continue;
    const found = raisedCodes.has(code) ? 'reserved, and raised' : 'listed, and nothing raises it';
    findings.push(`${code} is ${found}`);
  }
  const isNamed = (code: string): boolean => {
    if (code.endsWith('_')) return [...listed].some((each) => each.startsWith(code));
    return !isCode(code) || listed.has(code) || variables.has(code);
  };
  for (const { code, place } of [...sources.flatMap(commentMentions), ...textMentions(workspace)]) {
    if (!isNamed(code)) findings.push(`${place} names ${code}, which is no code and no variable`);
  }
  return findings;
}

/** docs/errors.md is what the table makes it. */
export function checkErrorsDocument({ root }: Workspace): string[] {
  const expected = errorsDocument(readErrorTable(root));
  if (readText(join(root, errorsDocumentPath)) === expected) return [];
  return [`${errorsDocumentPath} differs from the table of codes: run pnpm run docs:errors`];
}

function codesOf(file: SourceFile): { raised: Mention[]; variables: string[] } {
  const strings: Mention[] = [];
  const compared = new Set<string>();
  const variables: string[] = [];
  const note = (node: Node): void => {
    if (node.type === 'Literal' && typeof node.value === 'string') {
      compared.add(place(file, node.start) + node.value);
    }
  };
  new Visitor({
    Literal({ value, start }) {
      if (typeof value !== 'string' || !isCode(value)) return;
      strings.push({ code: value, place: place(file, start) });
    },
    BinaryExpression({ operator, left, right }) {
      if (!/^[!=]==?$/.test(operator)) return;
      note(left);
      note(right);
    },
    SwitchCase({ test }) {
      if (test !== null) note(test);
    },
    MemberExpression({ object, property }) {
      const owner = file.text.slice(object.start, object.end);
      if (!/\benv(ironment)?$/.test(owner)) return;
      note(property);
      const name = file.text.slice(property.start, property.end).replaceAll(/['"]/g, '');
      variables.push(name);
    },
  }).visit(file.program);
  const raised = strings.filter(({ code, place }) => !compared.has(place + code));
  return { raised, variables };
}

function commentMentions(file: SourceFile): Mention[] {
  return file.comments.flatMap(({ value, start }) =>
    [...value.matchAll(CODE)].map(([code]) => ({ code, place: place(file, start) })),
  );
}

/** Codes in the Markdown of packages and docs. */
function textMentions({ root, packages }: Workspace): Mention[] {
  const names = [
    ...packages.map(({ directory }) => join(directory, 'README.md')),
    ...filesBelow(join(root, 'docs')).map((path) => join(root, 'docs', path)),
    join(root, 'README.md'),
  ].filter((path) => path.endsWith('.md'));
  return names.flatMap((path) => {
    const text = readText(path);
    return [...text.matchAll(CODE)].map(([code]) => ({ code, place: path.slice(root.length + 1) }));
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
