/** One parsed TypeScript file: what it imports, says and calls, as the checks need it. */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { type Comment, type Program, parseSync } from 'oxc-parser';

export interface Import {
  readonly specifier: string;
  /** True where nothing of it is left at run time. */
  readonly isType: boolean;
  readonly line: number;
}

export interface SourceFile {
  /** Absolute. */
  readonly path: string;
  /** Relative to the repository, with `/`: how findings name the file. */
  readonly name: string;
  readonly text: string;
  readonly imports: readonly Import[];
  readonly comments: readonly Comment[];
  readonly program: Program;
}

/**
 * @param root directory that `name` is relative to.
 * @throws Error for a file that does not parse.
 */
export function parseSource(root: string, path: string): SourceFile {
  const text = readFileSync(path, 'utf8');
  const { errors, module, comments, program } = parseSync(path, text);
  const name = relative(root, path).replaceAll('\\', '/');
  const [error] = errors;
  if (error !== undefined) throw new Error(`${name} does not parse: ${error.message}`);

  const imports: Import[] = [];
  const add = (specifier: string, offset: number): void => {
    // Of `import { type T }` an `import {}` is left at run time, and it loads the file.
    const isType = /^(import|export)\s+type\b/.test(text.slice(offset, offset + 20));
    imports.push({ specifier, isType, line: lineOf(text, offset) });
  };
  for (const { moduleRequest, start } of module.staticImports) add(moduleRequest.value, start);
  for (const { start, entries } of module.staticExports) {
    const specifiers = new Set(entries.flatMap(({ moduleRequest }) => moduleRequest?.value ?? []));
    for (const specifier of specifiers) add(specifier, start);
  }
  for (const { moduleRequest, start } of module.dynamicImports) {
    const quoted = /^(['"])([^'"]*)\1$/.exec(text.slice(moduleRequest.start, moduleRequest.end));
    if (quoted?.[2] !== undefined) add(quoted[2], start);
  }
  return { path, name, text, imports, comments, program };
}

/** Line number, from 1, of an offset. */
function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

/** `name:line` of an offset in a file. */
export function place(file: SourceFile, offset: number): string {
  return `${file.name}:${lineOf(file.text, offset)}`;
}
