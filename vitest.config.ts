import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// Without `module`, which is for bundlers: Node.js does not run all that packages put there.
const conditions = ['@raftseal/source', 'node', 'development|production'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: [
      'packages/*/test/**/*.test.ts',
      'apps/*/test/**/*.test.ts',
      'tooling/*/test/**/*.test.ts',
      'scripts/test/**/*.test.mjs',
    ],
    pool: 'forks',
    // Many tests wait for a lease or a timer: as few workers as cores would leave the machine idle.
    maxWorkers: Math.max(3, Math.ceil(availableParallelism() / 2)),
    // A machine that also builds, or runs other tests, is slow: only a hang takes this long.
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
