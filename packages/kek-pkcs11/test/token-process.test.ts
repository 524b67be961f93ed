/** What happens to calls when the token process, the module or the token does not do its part. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KekProvider } from '@raftseal/interface';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createPkcs11Key, kekFromPkcs11, type Pkcs11Options } from '../src/index.ts';
import {
  CALL_TIMEOUT_MS,
  newBinding,
  PIN,
  refusal,
  startProgram,
  tokenProcesses,
  untilAvailable,
  untilEnded,
  untilProcesses,
  useSoftTokens,
} from './soft-token.ts';

const tokens = useSoftTokens();
const binding = newBinding();
const opened: KekProvider[] = [];
const built = fileURLToPath(new URL('../dist/index.js', import.meta.url));

beforeAll(async () => {
  await createPkcs11Key({ uri: tokens().uri({ object: 'kek' }) });
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((kek) => kek.close()));
  await untilProcesses(0);
});

async function openKek(options: Partial<Pkcs11Options> = {}): Promise<KekProvider> {
  const uri = tokens().uri({ object: 'kek' });
  const kek = await kekFromPkcs11({ uri, callTimeoutMs: CALL_TIMEOUT_MS, ...options });
  opened.push(kek);
  return kek;
}

async function onlyProcess(): Promise<number> {
  const [pid = 0] = await untilProcesses(1);
  return pid;
}

async function wrapsAndUnwraps(kek: KekProvider): Promise<boolean> {
  const dek = randomBytes(32);
  return dek.equals(await kek.unwrapKey(await kek.wrapKey(dek, binding), binding));
}

describe('a token process', () => {
  it('holds the module and the key: this process has neither, and its own shows no PIN', async () => {
    const kek = await openKek();
    expect(await wrapsAndUnwraps(kek)).toBe(true);
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain('softhsm');
    const itsOwn = `/proc/${await onlyProcess()}`;
    expect(readFileSync(`${itsOwn}/maps`, 'utf8')).toContain('softhsm');
    expect(readFileSync(`${itsOwn}/cmdline`, 'utf8')).not.toContain(PIN);
    expect(readFileSync(`${itsOwn}/environ`, 'utf8')).not.toContain(PIN);
  });

  it('is replaced when it dies, and calls under way are made again', async () => {
    const kek = await openKek();
    const calls = Array.from({ length: 32 }, () => wrapsAndUnwraps(kek));
    process.kill(await onlyProcess(), 'SIGKILL');
    expect(await Promise.all(calls)).toEqual(calls.map(() => true));
    process.kill(await onlyProcess(), 'SIGKILL');
    expect(await wrapsAndUnwraps(kek)).toBe(true);
  });

  it('is killed when it hangs: calls end, and later ones work', async () => {
    const kek = await openKek({ callTimeoutMs: 500 });
    const hanging = await onlyProcess();
    process.kill(hanging, 'SIGSTOP');
    const calls = Array.from({ length: 8 }, () => kek.wrapKey(randomBytes(32), binding));
    await Promise.all(calls.map((call) => refusal('RAFTSEAL_KEK_UNAVAILABLE', call)));
    await untilAvailable(kek);
    expect(await onlyProcess()).not.toBe(hanging);
  });

  it('does not outlive a close while it hangs', async () => {
    const kek = await openKek();
    process.kill(await onlyProcess(), 'SIGSTOP');
    const call = kek.wrapKey(randomBytes(32), binding);
    const closing = kek.close();
    await refusal('RAFTSEAL_KEK_CLOSED', call);
    await closing;
    expect(tokenProcesses()).toEqual([]);
  });

  it('is killed where the module hangs while it is loaded', async () => {
    const fifo = join(tokens().directory, 'module.so');
    execFileSync('mkfifo', [fifo]);
    const uri = `pkcs11:token=raftseal;object=kek?module-path=${fifo}`;
    await refusal('RAFTSEAL_KEK_UNAVAILABLE', kekFromPkcs11({ uri, openTimeoutMs: 1_000 }));
    expect(tokenProcesses()).toEqual([]);
  });

  it('ignores the signals that end a group of processes', async () => {
    const kek = await openKek();
    const pid = await onlyProcess();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.kill(pid, signal);
    expect(await wrapsAndUnwraps(kek)).toBe(true);
    expect(await onlyProcess()).toBe(pid);
  });

  it('ends with the program that started it, however that ends', async () => {
    const program = `
      import { readFileSync } from 'node:fs';
      import { kekFromPkcs11 } from ${JSON.stringify(built)};
      await kekFromPkcs11({ uri: ${JSON.stringify(tokens().uri({ object: 'kek' }))} });
      const task = '/proc/' + process.pid + '/task/' + process.pid;
      process.stdout.write(readFileSync(task + '/children', 'utf8').trim() + '\\n');
    `;
    for (const wait of ['', 'setInterval(() => undefined, 1_000);']) {
      const { child, written } = await startProgram(program + wait);
      // Without the interval the open provider alone does not keep the program running.
      if (wait !== '') child.kill('SIGKILL');
      await untilEnded(written);
      expect(await exitOf(child)).toBe(wait === '' ? 0 : 'SIGKILL');
    }
  });
});

describe('a token', () => {
  it('that goes away makes calls unavailable, and is opened anew when it is back', async () => {
    const kek = await openKek();
    const away = `${tokens().tokens}-away`;
    renameSync(tokens().tokens, away);
    await refusal('RAFTSEAL_KEK_UNAVAILABLE', kek.wrapKey(randomBytes(32), binding));
    await refusal('RAFTSEAL_KEK_UNAVAILABLE', kek.wrapKey(randomBytes(32), binding));
    renameSync(away, tokens().tokens);
    expect(await wrapsAndUnwraps(kek)).toBe(true);
  });

  it('whose PIN was changed is asked once: the PIN is not tried again', async () => {
    tokens().makeToken('changing');
    const uri = tokens().uri({ token: 'changing', object: 'kek' });
    await createPkcs11Key({ uri });
    const kek = await openKek({ uri });
    const [serial = ''] = tokens().serials('changing');
    tokens().deleteToken(serial);
    tokens().makeToken('changing', '1234-other');
    await refusal('RAFTSEAL_KEK_PKCS11_PIN', kek.wrapKey(randomBytes(32), binding));
    await untilProcesses(0);
    await refusal('RAFTSEAL_KEK_PKCS11_PIN', kek.wrapKey(randomBytes(32), binding));
    expect(tokenProcesses()).toEqual([]);
  });

  it('is asked for its PIN file once: later content has no effect', async () => {
    const pinPath = join(tokens().directory, 'short-lived');
    tokens().writePin(PIN, pinPath);
    const kek = await openKek({ uri: tokens().uri({ object: 'kek', pinPath }) });
    rmSync(pinPath);
    process.kill(await onlyProcess(), 'SIGKILL');
    expect(await wrapsAndUnwraps(kek)).toBe(true);
  });
});

async function exitOf(child: ChildProcess): Promise<unknown> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode ?? child.signalCode;
}
