import { randomBytes } from 'node:crypto';
import { fieldOf, startGcpKms } from '@raftseal/kek-services-for-tests';
import { describe, expect, it } from 'vitest';
import { briefLimits, useGcpKms } from './gcp-world.ts';

const world = useGcpKms();
const clusterId = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const binding = { clusterId, dekId: 0x0102_0304, purpose: 'index' } as const;
const dek = randomBytes(32);

const refusal = (code: string, text = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

const kmsRequests = () => world.kms.http.requests.filter(({ path }) => path.startsWith('/v1/'));

describe('opening', () => {
  it('asks only what the key is', async () => {
    const before = kmsRequests().length;
    const kek = await world.open();
    expect(kek.kekUri).toBe(`gcp-kms:${world.key.name}`);
    await kek.close();
    const sent = kmsRequests().slice(before);
    expect(sent.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `GET /v1/${world.key.name}`,
    ]);
  });

  it('names a key that is none', async () => {
    await expect(world.open(`${world.key.name}x`)).rejects.toEqual(
      refusal('RAFTSEAL_KEK_MISSING', 'not found'),
    );
  });

  it.each(['DISABLED', 'DESTROY_SCHEDULED', 'DESTROYED'] as const)(
    'refuses a key with a primary version in %s',
    async (state) => {
      const key = world.kms.createKey(`opening-${state}`);
      key.states.set(1, state);
      await expect(world.open(key.name)).rejects.toEqual(refusal('RAFTSEAL_KEK_DISABLED', state));
    },
  );

  it.each(['ASYMMETRIC_DECRYPT', 'MAC', 'RAW_ENCRYPT_DECRYPT'] as const)(
    'refuses a key of the purpose %s',
    async (purpose) => {
      const key = Object.assign(world.kms.createKey(`opening-${purpose}`), { purpose });
      await expect(world.open(key.name)).rejects.toEqual(refusal('RAFTSEAL_KEK_UNFIT', purpose));
    },
  );

  it('is refused without the permission', async () => {
    world.kms.denied.add('cloudkms.cryptoKeys.get');
    await expect(world.open()).rejects.toEqual(
      refusal('RAFTSEAL_KEK_DENIED', 'The account needs cloudkms.cryptoKeys.get'),
    );
    world.kms.denied.clear();
  });

  it('asks for credentials where there are none', async () => {
    world.kms.hasAccount = false;
    await expect(world.open()).rejects.toEqual(
      refusal('RAFTSEAL_KEK_CREDENTIALS', 'Application Default Credentials'),
    );
    world.kms.hasAccount = true;
    process.env.GOOGLE_APPLICATION_CREDENTIALS = '/none/such.json';
    await expect(world.open()).rejects.toEqual(
      refusal('RAFTSEAL_KEK_CREDENTIALS', '/none/such.json'),
    );
    delete process.env.GOOGLE_APPLICATION_CREDENTIALS;
  });

  it('says that nobody listens', async () => {
    const kms = await startGcpKms();
    const endpoint = kms.http.origin;
    await kms.http.close();
    await expect(world.open(world.key.name, { endpoint, limits: briefLimits })).rejects.toEqual(
      refusal('RAFTSEAL_KEK_UNAVAILABLE', 'ECONNREFUSED'),
    );
  });

  it.each(['http://10.0.0.1', 'ftp://127.0.0.1', 'nothing'])(
    'shows no DEK to the network by the endpoint %s',
    async (endpoint) => {
      await expect(world.open(world.key.name, { endpoint })).rejects.toThrow(TypeError);
    },
  );
});

describe('wraps', () => {
  it('are bound by the same bytes as those of other providers, with checksums', async () => {
    const kek = await world.open();
    await kek.unwrapKey(await kek.wrapKey(dek, binding), binding);
    const aad = Buffer.concat([
      Buffer.from('raftseal kek wrap v1'),
      Buffer.from([3, 1, 2, 3, 4]),
      clusterId,
    ]);
    for (const { body } of kmsRequests().slice(-2)) {
      expect(fieldOf(body, 'additionalAuthenticatedData')).toBe(aad.toString('base64'));
      expect(fieldOf(body, 'additionalAuthenticatedDataCrc32c')).toMatch(/^\d+$/);
    }
    await kek.close();
  });

  it('open after a rotation, until their version is disabled or destroyed', async () => {
    const key = world.kms.createKey('turning');
    const kek = await world.open(key.name);
    const early = await kek.wrapKey(dek, binding);
    key.held.rotate();
    const late = await kek.wrapKey(dek, binding);
    for (const wrap of [early, late]) {
      expect(dek.equals(await kek.unwrapKey(wrap, binding))).toBe(true);
    }
    for (const state of ['DISABLED', 'DESTROYED'] as const) {
      key.states.set(1, state);
      await expect(kek.unwrapKey(early, binding)).rejects.toEqual(
        refusal('RAFTSEAL_KEK_DISABLED', state),
      );
      expect(dek.equals(await kek.unwrapKey(late, binding))).toBe(true);
    }
    key.states.set(2, 'DISABLED');
    await expect(kek.wrapKey(dek, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_DISABLED'));
    await kek.close();
  });

  it.each(['Encrypt', 'Decrypt'])('need the permission to use the key to %s', async (verb) => {
    const kek = await world.open();
    const wrapped = await kek.wrapKey(dek, binding);
    const permission = `cloudkms.cryptoKeyVersions.useTo${verb}`;
    world.kms.denied.add(permission);
    const call = verb === 'Encrypt' ? kek.wrapKey(dek, binding) : kek.unwrapKey(wrapped, binding);
    await expect(call).rejects.toEqual(refusal('RAFTSEAL_KEK_DENIED', permission));
    world.kms.denied.clear();
    await kek.close();
  });
});

describe('the access token', () => {
  it('is asked for once, and anew when the service refuses it', async () => {
    const { kms } = world;
    const tokenRequests = () =>
      kms.http.requests.filter(({ path }) => path.includes('/token')).length;
    const limits = { attemptMs: 10_000, callMs: 20_000 };
    const kek = await world.open(world.key.name, { limits });
    const wrapped = await kek.wrapKey(dek, binding);
    const before = tokenRequests();
    await kek.unwrapKey(wrapped, binding);
    expect(tokenRequests()).toBe(before);

    kms.tokens.clear();
    kms.tokens.add('ya29.another');
    expect(dek.equals(await kek.unwrapKey(wrapped, binding))).toBe(true);
    expect(tokenRequests()).toBe(before + 1);

    kms.http.failNext(
      { kind: 'answer', answer: { status: 401, body: { error: { code: 401 } } } },
      { times: 2, on: /decrypt/ },
    );
    await expect(kek.unwrapKey(wrapped, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_DENIED'));
    await kek.close();
  });
});
