/**
 * No file imports itself by way of others: such files load in an order that nobody chose. Imports
 * of types do not count, since nothing of them is left at run time.
 */
import { dirname, resolve } from 'node:path';
import type { Workspace } from './workspace.ts';

export function checkImportCycles(workspace: Workspace): string[] {
  return workspace.packages.flatMap(({ sources }) => {
    const names = new Map(sources.map(({ path, name }) => [path, name]));
    const edges = new Map(
      sources.map(({ path, imports }) => [
        path,
        imports
          .filter(({ specifier, isType }) => specifier.startsWith('.') && !isType)
          .map(({ specifier }) => resolve(dirname(path), specifier)),
      ]),
    );
    return findCycles(edges).map((cycle) =>
      [...cycle, cycle[0] ?? ''].map((path) => names.get(path) ?? path).join(' -> '),
    );
  });
}

/** One cycle for each edge that closes one in a depth-first walk; none only where there is none. */
function findCycles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const done = new Set<string>();
  const visit = (node: string, trail: readonly string[]): void => {
    const seenAt = trail.indexOf(node);
    if (seenAt >= 0) {
      cycles.push(trail.slice(seenAt));
      return;
    }
    if (done.has(node)) return;
    for (const next of edges.get(node) ?? []) visit(next, [...trail, node]);
    done.add(node);
  };
  for (const node of edges.keys()) visit(node, []);
  return cycles;
}
