/** A token of SoftHSM in a directory of its own, with a KEK in it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPkcs11Key } from '@raftseal/kek-pkcs11';
import { temporaryDirectory } from '../temporary-directory.ts';

const modulePaths = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib64/softhsm/libsofthsm2.so'];

/** Resolves to the URI of the KEK. */
export async function kekInSoftToken(): Promise<string> {
  const directory = temporaryDirectory();
  const modulePath = modulePaths.find((path) => existsSync(path));
  if (modulePath === undefined) {
    throw new Error('expected SoftHSM 2; install it: apt-get install softhsm2');
  }
  const [tokens, configuration] = [join(directory, 'tokens'), join(directory, 'softhsm2.conf')];
  mkdirSync(tokens);
  writeFileSync(configuration, `directories.tokendir = ${tokens}\nlog.level = ERROR\n`);
  process.env.SOFTHSM2_CONF = configuration;
  const pinPath = join(directory, 'pin');
  writeFileSync(pinPath, '4711-test\n', { mode: 0o600 });
  const pins = ['--so-pin', '8899-test', '--pin', '4711-test'];
  execFileSync('softhsm2-util', ['--init-token', '--free', '--label', 'raftseal', ...pins]);
  const uri = `pkcs11:token=raftseal;object=kek?module-path=${modulePath}&pin-source=file:${pinPath}`;
  await createPkcs11Key({ uri });
  return uri;
}
