import { fileURLToPath } from 'node:url';

/** Absolute path of the repository, seen from `src` or from `dist`. */
export const repositoryRoot: string = fileURLToPath(new URL('../../..', import.meta.url)).replace(
  /[\\/]$/,
  '',
);
