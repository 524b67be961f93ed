/** knip: files, dependencies and exports that nothing uses (knip.json). */
import { join } from 'node:path';
import { failureOf, runProgram } from './program.ts';
import type { Workspace } from './workspace.ts';

export async function checkUnused({ root }: Workspace): Promise<string[]> {
  const knip = join(root, 'tooling/checks/node_modules/knip/bin/knip.js');
  const args = [knip, '--no-progress', '--no-config-hints'];
  return failureOf('knip', await runProgram(process.execPath, args, { cwd: root }));
}
