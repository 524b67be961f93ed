/** Programs that a world needs and npm cannot install. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Program to the Debian package that has it. */
const everywhere: Readonly<Record<string, string>> = { etcd: 'etcd-server' };
const forNamespaces: Readonly<Record<string, string>> = {
  unshare: 'util-linux',
  nsenter: 'util-linux',
  ip: 'iproute2',
  nft: 'nftables',
  openssl: 'openssl',
};

/** @throws where one is not on PATH; says how to get it */
export function requirePrograms(hosts: 'loopback' | 'namespaces'): void {
  const needed = hosts === 'namespaces' ? { ...everywhere, ...forNamespaces } : everywhere;
  const missing = Object.keys(needed).filter((program) => !isOnPath(program));
  if (missing.length === 0) return;
  const packages = new Set(missing.map((program) => needed[program] ?? program));
  throw new Error(
    `expected on PATH, and not found: ${missing.join(', ')}; on Debian or Ubuntu: ` +
      `apt-get install --no-install-recommends ${[...packages].join(' ')}`,
  );
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return directory !== '';
    } catch {
      return false;
    }
  });
}
