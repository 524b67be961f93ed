/** Programs that a rig needs and npm cannot install. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Program to the Debian package that has it. */
const debianPackages = {
  strace: 'strace',
  bash: 'bash',
  unshare: 'util-linux',
  mount: 'mount',
  umount: 'mount',
  'mkfs.ext4': 'e2fsprogs',
  'mkfs.xfs': 'xfsprogs',
} as const;

export type RequiredProgram = keyof typeof debianPackages;

/** Not on the path of everyone who may become root. */
const systemDirectories = ['/usr/sbin', '/sbin'];

/** @throws where one is not on PATH; says how to get it */
export function requirePrograms(needed: readonly RequiredProgram[]): void {
  const missing = needed.filter((program) => !isInstalled(program));
  if (missing.length === 0) return;
  const names = new Set(missing.map((program) => debianPackages[program]));
  throw new Error(
    `expected on PATH, and not found: ${missing.join(', ')}; on Debian or Ubuntu: ` +
      `apt-get install --no-install-recommends ${[...names].join(' ')}`,
  );
}

function isInstalled(program: string): boolean {
  const directories = [...(process.env.PATH ?? '').split(delimiter), ...systemDirectories];
  return directories.some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return directory !== '';
    } catch {
      return false;
    }
  });
}
