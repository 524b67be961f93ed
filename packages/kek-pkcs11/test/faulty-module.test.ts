/** Modules that hang, crash, lose their device or do what was not asked, in front of SoftHSM. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KekProvider } from '@raftseal/interface';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createPkcs11Key, kekFromPkcs11 } from '../src/index.ts';
import {
  CALL_TIMEOUT_MS,
  newBinding,
  refusal,
  startProgram,
  untilAvailable,
  untilEnded,
  untilProcesses,
  useSoftTokens,
} from './soft-token.ts';

const tokens = useSoftTokens();
const binding = newBinding();
const source = fileURLToPath(new URL('fixtures/faulty-module.c', import.meta.url));
const built = fileURLToPath(new URL('../dist/index.js', import.meta.url));
let [faultPath, loginsPath, uri] = ['', '', ''];
let kek: KekProvider | undefined;

beforeAll(async () => {
  const modulePath = join(tokens().directory, 'faulty-module.so');
  execFileSync('cc', ['-shared', '-fPIC', '-o', modulePath, source, '-ldl']);
  faultPath = join(tokens().directory, 'fault');
  loginsPath = join(tokens().directory, 'logins');
  process.env.FAULTY_MODULE_INNER = tokens().modulePath;
  process.env.FAULTY_MODULE_FAULT = faultPath;
  process.env.FAULTY_MODULE_LOGINS = loginsPath;
  uri = tokens().uri({ object: 'kek' }).replace(tokens().modulePath, modulePath);
  await createPkcs11Key({ uri });
});

beforeEach(() => writeFileSync(loginsPath, ''));

afterEach(async () => {
  await kek?.close();
  kek = undefined;
  rmSync(faultPath, { force: true });
  await untilProcesses(0);
});

const setFault = (fault: string): void => writeFileSync(faultPath, fault);
const logins = (): number => readFileSync(loginsPath, 'utf8').length;

async function openKek(callTimeoutMs: number = CALL_TIMEOUT_MS): Promise<KekProvider> {
  kek = await kekFromPkcs11({ uri, callTimeoutMs });
  return kek;
}

describe('a module', () => {
  it('that hangs in a call is killed: the call ends, and later ones work', async () => {
    const hanging = await openKek(1_000);
    setFault('hang');
    await refusal('RAFTSEAL_KEK_UNAVAILABLE', hanging.wrapKey(randomBytes(32), binding));
    rmSync(faultPath);
    await untilAvailable(hanging);
  });

  it('that hangs in a call does not outlive a program that is killed', async () => {
    const program = `
      import { kekFromPkcs11 } from ${JSON.stringify(built)};
      import { readFileSync, writeFileSync } from 'node:fs';
      const kek = await kekFromPkcs11({ uri: ${JSON.stringify(uri)} });
      writeFileSync(${JSON.stringify(faultPath)}, 'hang');
      const binding = { clusterId: new Uint8Array(16), dekId: 1, purpose: 'raft' };
      void kek.wrapKey(new Uint8Array(32), binding);
      const task = '/proc/' + process.pid + '/task/' + process.pid;
      process.stdout.write(readFileSync(task + '/children', 'utf8').trim() + '\\n');
      setInterval(() => undefined, 1_000);
    `;
    const { child, written } = await startProgram(program);
    child.kill('SIGKILL');
    await untilEnded(written);
  });

  it('that crashes ends its own process, not this one', async () => {
    const crashing = await openKek();
    setFault('crash');
    await refusal('RAFTSEAL_KEK_UNAVAILABLE', crashing.wrapKey(randomBytes(32), binding));
    rmSync(faultPath);
    expect(await crashing.wrapKey(randomBytes(32), binding)).toHaveLength(60);
  });

  it('that lost its device is opened anew, and asked again', async () => {
    const losing = await openKek();
    setFault('removed-once');
    expect(await losing.wrapKey(randomBytes(32), binding)).toHaveLength(60);
    expect(logins()).toBe(2);
  });

  it('whose device is gone is opened anew once for each call', async () => {
    const gone = await openKek();
    setFault('removed');
    await refusal('RAFTSEAL_KEK_UNAVAILABLE', gone.wrapKey(randomBytes(32), binding));
    expect(logins()).toBe(2);
  });

  it('that fails once, and does not say how, is asked again: no wrap is lost to that', async () => {
    const failing = await openKek();
    const dek = randomBytes(32);
    const wrapped = await failing.wrapKey(dek, binding);
    setFault('vague-once');
    expect(dek.equals(await failing.unwrapKey(wrapped, binding))).toBe(true);
    expect(existsSync(faultPath)).toBe(false);
    setFault('vague-once');
    await failing.wrapKey(dek, binding);
    expect(existsSync(faultPath)).toBe(false);
    expect(logins()).toBe(1);
  });

  it('that puts a nonce of its own in place is refused: what it wraps would be lost', async () => {
    setFault('other-nonce');
    await refusal('RAFTSEAL_KEK_PKCS11_MECHANISM', openKek());
    rmSync(faultPath);
    const changing = await openKek();
    setFault('other-nonce');
    const call = changing.wrapKey(randomBytes(32), binding);
    await refusal('RAFTSEAL_KEK_PKCS11_MECHANISM', call);
  });

  it('that leaves the tag out is refused', async () => {
    setFault('short');
    await refusal('RAFTSEAL_KEK_PKCS11_MECHANISM', openKek());
  });

  it('is given a PIN once that is wrong, and none that would lock the token', async () => {
    const pinPath = join(tokens().directory, 'wrong-pin');
    tokens().writePin('4712-wrong', pinPath);
    const wrong = uri.replace(/pin-source=.*/, `pin-source=file:${pinPath}`);
    await refusal('RAFTSEAL_KEK_PKCS11_PIN', kekFromPkcs11({ uri: wrong }));
    expect(logins()).toBe(1);
    setFault('final-try');
    await refusal('RAFTSEAL_KEK_PKCS11_PIN_LOCKED', kekFromPkcs11({ uri: wrong }));
    await refusal('RAFTSEAL_KEK_PKCS11_PIN_LOCKED', openKek());
    expect(logins()).toBe(1);
  });
});
