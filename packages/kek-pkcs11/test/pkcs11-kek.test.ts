import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kekInMemory } from '@raftseal/kek-memory';
import { describe, expect, it } from 'vitest';
import { createPkcs11Key, kekFromPkcs11 } from '../src/index.ts';
import type { Attribute } from '../src/token/attributes.ts';
import { CKA } from '../src/token/standard.ts';
import { newBinding, refusal, tokenProcesses, useSoftTokens } from './soft-token.ts';

const tokens = useSoftTokens();
const binding = newBinding();

describe('kekFromPkcs11', () => {
  it('wraps in the format of kek-memory', async () => {
    // softhsm2-util reads the file as text: it cuts a key at a zero byte or a line end.
    const kekBytes = Buffer.from(randomBytes(16).toString('hex'));
    tokens().importKey('raftseal', 'imported', kekBytes);
    const kek = await kekFromPkcs11({ uri: tokens().uri({ object: 'imported' }) });
    const inMemory = kekInMemory({ kek: kekBytes, kekUri: 'memory:same' });
    const dek = randomBytes(32);
    const opened = await inMemory.unwrapKey(await kek.wrapKey(dek, binding), binding);
    expect(dek.equals(opened)).toBe(true);
    const openedByToken = await kek.unwrapKey(await inMemory.wrapKey(dek, binding), binding);
    expect(dek.equals(openedByToken)).toBe(true);
    await kek.close();
  });

  it('names token and key in its kekUri, and neither module nor PIN file', async () => {
    const uri = tokens().uri({ object: 'named', id: '%0a' });
    expect(await createPkcs11Key({ uri })).toBe('pkcs11:token=raftseal;object=named;id=%0A');
    const kek = await kekFromPkcs11({ uri });
    expect(kek.kekUri).toBe('pkcs11:token=raftseal;object=named;id=%0A');
    await kek.close();
  });

  it('refuses a wrong PIN, and leaves no process behind', async () => {
    const pinPath = join(tokens().directory, 'wrong-pin');
    tokens().writePin('4712-wrong', pinPath);
    const uri = tokens().uri({ object: 'k', pinPath });
    const message = await refusal('RAFTSEAL_KEK_PKCS11_PIN', kekFromPkcs11({ uri }));
    expect(message).toContain('CKR_PIN_INCORRECT');
    expect(message).not.toContain('4712');
    expect(tokenProcesses()).toEqual([]);
  });

  it('refuses a token that wants a PIN where none is given', async () => {
    const [uri = ''] = tokens().uri({ object: 'k' }).split('&pin-source');
    await refusal('RAFTSEAL_KEK_PKCS11_PIN_MISSING', kekFromPkcs11({ uri }));
  });

  it('refuses a missing token', async () => {
    const uri = tokens().uri({ token: 'nowhere', object: 'k' });
    const message = await refusal('RAFTSEAL_KEK_PKCS11_TOKEN_MISSING', kekFromPkcs11({ uri }));
    expect(message).toContain('"nowhere"');
  });

  it('refuses two tokens of one label, which their serials tell apart', async () => {
    tokens().makeToken('twin');
    tokens().makeToken('twin');
    const uri = tokens().uri({ token: 'twin', object: 'k' });
    await refusal('RAFTSEAL_KEK_PKCS11_TOKEN_AMBIGUOUS', kekFromPkcs11({ uri }));
    const [serial = ''] = tokens().serials('twin');
    const one = uri.replace('token=twin', `token=twin;serial=${serial}`);
    await createPkcs11Key({ uri: one });
    await (await kekFromPkcs11({ uri: one })).close();
  });

  it('refuses a missing key', async () => {
    const uri = tokens().uri({ object: 'nothing' });
    const message = await refusal('RAFTSEAL_KEK_PKCS11_KEY_MISSING', kekFromPkcs11({ uri }));
    expect(message).toContain('label "nothing"');
  });

  it('refuses two keys of one label, which their ids tell apart', async () => {
    await tokens().generateKey('raftseal', 'same', [[CKA.id, Uint8Array.of(1)]]);
    await tokens().generateKey('raftseal', 'same', [[CKA.id, Uint8Array.of(2)]]);
    const uri = tokens().uri({ object: 'same' });
    await refusal('RAFTSEAL_KEK_PKCS11_KEY_AMBIGUOUS', kekFromPkcs11({ uri }));
    const first = await kekFromPkcs11({ uri: tokens().uri({ object: 'same', id: '%01' }) });
    const second = await kekFromPkcs11({ uri: tokens().uri({ object: 'same', id: '%02' }) });
    const wrapped = await first.wrapKey(randomBytes(32), binding);
    await refusal('RAFTSEAL_KEK_MISMATCH', second.unwrapKey(wrapped, binding));
    await Promise.all([first.close(), second.close()]);
  });

  it('refuses an object of that name that is no secret key', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    tokens().importPrivateKey('raftseal', 'rsa', pem);
    const uri = tokens().uri({ object: 'rsa' });
    const message = await refusal('RAFTSEAL_KEK_PKCS11_KEY_UNFIT', kekFromPkcs11({ uri }));
    expect(message).toMatch(/found a (private|public) key/);
  });

  const unfit: readonly [string, Attribute, string][] = [
    ['extractable', [CKA.extractable, true], 'is extractable'],
    ['readable', [CKA.sensitive, false], 'is not sensitive'],
    ['short', [CKA.valueLength, 16], 'has 16 bytes'],
    ['unwrap-only', [CKA.encrypt, false], 'may not encrypt'],
    ['wrap-only', [CKA.decrypt, false], 'may not decrypt'],
  ];

  it.each(unfit)('refuses a key that is %s, and says so', async (object, change, expected) => {
    await tokens().generateKey('raftseal', object, [change]);
    const uri = tokens().uri({ object });
    const message = await refusal('RAFTSEAL_KEK_PKCS11_KEY_UNFIT', kekFromPkcs11({ uri }));
    expect(message).toContain(expected);
  });

  it('refuses a key that was cut when it was imported', async () => {
    tokens().importKey('raftseal', 'cut', Buffer.alloc(32).fill(1, 0, 24));
    const uri = tokens().uri({ object: 'cut' });
    const message = await refusal('RAFTSEAL_KEK_PKCS11_KEY_UNFIT', kekFromPkcs11({ uri }));
    expect(message).toContain('has 24 bytes');
  });

  it('refuses a secret key that is not for AES', async () => {
    const [genericSecret, generation] = [0x10, 0x350];
    await tokens().generateKey('raftseal', 'generic', [[CKA.keyType, genericSecret]], generation);
    const uri = tokens().uri({ object: 'generic' });
    const message = await refusal('RAFTSEAL_KEK_PKCS11_KEY_UNFIT', kekFromPkcs11({ uri }));
    expect(message).toContain('is no AES key');
  });

  it('refuses a token without AES-GCM', async () => {
    const configuration = join(tokens().directory, 'without-gcm.conf');
    const lines = [`directories.tokendir = ${tokens().tokens}`, 'slots.mechanisms = CKM_AES_CBC'];
    writeFileSync(configuration, `${lines.join('\n')}\n`);
    await withEnvironment(configuration, async () => {
      const uri = tokens().uri({ object: 'named' });
      await refusal('RAFTSEAL_KEK_PKCS11_MECHANISM', kekFromPkcs11({ uri }));
    });
  });

  it('refuses what is no module, and one that cannot be initialised', async () => {
    const [libc = ''] = /\/\S+libc\S+/.exec(readFileSync('/proc/self/maps', 'utf8')) ?? [];
    for (const path of ['/nowhere/module.so', tokens().pinPath, process.execPath, libc]) {
      const uri = `pkcs11:token=raftseal;object=k?module-path=${path}`;
      await refusal('RAFTSEAL_KEK_PKCS11_MODULE', kekFromPkcs11({ uri }));
    }
    await withEnvironment('/nowhere/softhsm2.conf', async () => {
      const uri = tokens().uri({ object: 'named' });
      const message = await refusal('RAFTSEAL_KEK_PKCS11_MODULE', kekFromPkcs11({ uri }));
      expect(message).toContain('C_Initialize');
    });
  });

  it("refuses a caller's slip: time-outs that are none", async () => {
    for (const timeoutMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const uri = tokens().uri({ object: 'k' });
      await expect(kekFromPkcs11({ uri, callTimeoutMs: timeoutMs })).rejects.toThrow(RangeError);
      await expect(kekFromPkcs11({ uri, openTimeoutMs: timeoutMs })).rejects.toThrow(RangeError);
    }
  });
});

describe('createPkcs11Key', () => {
  it('takes no name that an object of the token has', async () => {
    const uri = tokens().uri({ object: 'once', id: '%77' });
    await createPkcs11Key({ uri });
    await refusal('RAFTSEAL_KEK_PKCS11_KEY_EXISTS', createPkcs11Key({ uri }));
    const byLabel = tokens().uri({ object: 'once', id: '%78' });
    await refusal('RAFTSEAL_KEK_PKCS11_KEY_EXISTS', createPkcs11Key({ uri: byLabel }));
    const byId = tokens().uri({ object: 'twice', id: '%77' });
    await refusal('RAFTSEAL_KEK_PKCS11_KEY_EXISTS', createPkcs11Key({ uri: byId }));
    await (await kekFromPkcs11({ uri })).close();
  });

  it('makes a key that is named by its id alone', async () => {
    const uri = tokens().uri({ id: '%C0%FF%EE' });
    expect(await createPkcs11Key({ uri })).toBe('pkcs11:token=raftseal;id=%C0%FF%EE');
    await (await kekFromPkcs11({ uri })).close();
  });
});

async function withEnvironment(configuration: string, body: () => Promise<void>): Promise<void> {
  const before = process.env.SOFTHSM2_CONF;
  process.env.SOFTHSM2_CONF = configuration;
  try {
    await body();
  } finally {
    process.env.SOFTHSM2_CONF = before;
  }
}
