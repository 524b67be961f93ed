/** The token layer within this process, with a second user of the module to disturb it. */
import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { createPkcs11Key } from '../src/index.ts';
import { findKey } from '../src/token/key.ts';
import { Pkcs11Module } from '../src/token/module.ts';
import { NULL } from '../src/token/native-memory.ts';
import { CKA, CKR } from '../src/token/standard.ts';
import { Token } from '../src/token/token.ts';
import { PIN, refusal, useSoftTokens } from './soft-token.ts';

const tokens = useSoftTokens();
const keyName = { object: 'kek' };
const parameters = { nonce: randomBytes(12), aad: Buffer.from('bound') };

beforeAll(async () => {
  await createPkcs11Key({ uri: tokens().uri({ object: 'kek' }) });
});

const openToken = (): Promise<Token> =>
  Token.open({
    modulePath: tokens().modulePath,
    tokenName: { token: 'raftseal' },
    keyName,
    pin: Buffer.from(PIN),
    create: false,
  });

describe('Token', () => {
  it('invariant 10: has a KEK that nobody can read out of the token', async () => {
    const returned = await tokens().inSession('raftseal', async (module, session) => {
      const { object } = await findKey(module, session, keyName);
      const value = module.memory.room(64);
      const { address } = module.memory.struct(CKA.value, value.address, value.length);
      const result = await module.call('C_GetAttributeValue', session, object, address, 1);
      expect(Buffer.from(module.memory.read(value))).toEqual(Buffer.alloc(64));
      return result;
    });
    expect(returned).toBe(CKR.CKR_ATTRIBUTE_SENSITIVE);
  });

  it('says that it is unavailable when its session was lost, and opens anew', async () => {
    const token = await openToken();
    const sealed = await token.wrap(randomBytes(32), parameters);
    const other = new Pkcs11Module(tokens().modulePath);
    await other.run('C_Finalize', NULL);
    await refusal('RAFTSEAL_KEK_UNAVAILABLE', token.wrap(randomBytes(32), parameters));
    await other.initialize(tokens().modulePath);
    const message = await refusal('RAFTSEAL_KEK_UNAVAILABLE', token.unwrap(sealed, parameters));
    expect(message).toContain('CKR_SESSION_HANDLE_INVALID');
    await token.close();
    const again = await openToken();
    expect((await again.unwrap(sealed, parameters))?.length).toBe(32);
    await again.close();
  });

  it('tells a wrap that does not authenticate from a token that fails', async () => {
    const token = await openToken();
    const sealed = Buffer.from(await token.wrap(randomBytes(32), parameters));
    sealed.writeUInt8(sealed.readUInt8(47) ^ 1, 47);
    expect(await token.unwrap(sealed, parameters)).toBeUndefined();
    await token.close();
  });
});
