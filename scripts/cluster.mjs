/**
 * `npm run cluster`: three members of etcd and three nodes on this machine, with nothing but Node and
 * npm on it (etcd comes from the distribution's packages). Installs, builds, starts; Ctrl-C, SIGTERM
 * or the end of the calling process stops everything.
 *
 *     npm run cluster -- [--data <dir>] [--shards <n>] [--chaos [--seconds <n>]]
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pnpm } from './pnpm.mjs';
import { run, stopWithParent } from './processes.mjs';
import { installSystemPackages } from './system-packages.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** @returns {Promise<number>} exit code. */
async function cluster() {
  const install = ['install', '--frozen-lockfile', '--prod=false'];
  const code = (await pnpm(install)) || (await pnpm(['run', 'build']));
  if (code !== 0) return code;
  if (!installSystemPackages()) return 1;
  const program = join(root, 'tooling/rigs/dist/trial/main.js');
  return run(process.execPath, [program, ...process.argv.slice(2)]);
}

stopWithParent();
process.chdir(root);
process.exitCode = await cluster();
