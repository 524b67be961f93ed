import { defineConfig } from 'vitest/config';

const conditions = ['@raftseal/source', 'module', 'node', 'development|production'];

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
  },
});
