/** Faults that the rig of keys has to find, planted in a copy of the program. */
import type { Plants } from '../run/plants.ts';

export const keyPlants: Plants = {
  /** A DEK is retired whatever needs it still. */
  'retire-early': [
    {
      file: 'apps/node/dist/retirement/retirement.js',
      find: `if (unled.length > 0)
            throw notTurnedOver(dekId, unled);`,
      replace: '',
    },
    {
      file: 'apps/node/dist/retirement/retirement.js',
      find: `        const blockers = [
            ...blockersOf({ ...this.#stateOnly, members: before }, dekId),
            ...blockersOf(findings, dekId),
            ...movedBetween(before, findings.members),
        ];`,
      replace: '        const blockers = [];',
    },
  ],
  /** Rewriting puts a row back that the same checkpoint has just written anew. */
  'no-rewrite-skip': [
    {
      file: 'packages/kv/dist/row-rewriter.js',
      find: 'const skip = (key) => written.has(key);',
      replace: 'const skip = () => false;',
    },
  ],
  /** A sidecar that is replaced leaves the one before in the directory. */
  'old-sidecar': [
    {
      file: 'packages/sidecar/dist/replacement.js',
      find: 'await fileSystem.rename(temporaryPath, path);',
      replace: `await fileSystem.rename(path, path + '.' + Date.now()).catch(() => undefined);
        await fileSystem.rename(temporaryPath, path);`,
    },
  ],
};
