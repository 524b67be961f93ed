/** Nodes whose KEK is in a token or in a key service, and what becomes of them while it is away. */
import { startVault, type Vault } from '@raftseal/kek-services-for-tests';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NodeConfig } from '../../src/config.ts';
import { kekFromUri } from '../../src/kek-from-uri.ts';
import { type Node, type NodeParts, startNode } from '../../src/node.ts';
import { adminCall, clientOf, newConfig, running } from '../running-node.ts';
import { kekInSoftToken } from './soft-token.ts';

const TIME_LIMIT_MS = 120_000;

let vault: Vault;

beforeEach(async () => {
  vault = await startVault();
  vault.createKey('transit/raftseal');
  process.env.VAULT_TOKEN = vault.token;
});

afterEach(() => vault.http.close());

const vaultUri = (): string =>
  `vault-transit:http://127.0.0.1:${vault.http.port}/transit/keys/raftseal`;

/** Nodes that give a key service up sooner than others. */
const impatient: NodeParts = {
  openKek: (uri) => kekFromUri(uri, { attemptMs: 1_000, callMs: 1_500 }),
};

/** The URIs of the KEKs that each key is wrapped under. */
function urisOf(node: Node): Set<string> {
  return new Set(node.admin.status().keys.flatMap(({ kekUris }) => kekUris));
}

async function post(
  node: Node,
  config: NodeConfig,
  path: string,
  body: object = {},
): Promise<unknown> {
  const { status, text } = await adminCall(node, config, ['POST', path, body]);
  return status === 200 ? 'done' : (JSON.parse(text) as { readonly code: string }).code;
}

describe('a KEK in a PKCS#11 token', { timeout: TIME_LIMIT_MS }, () => {
  it('makes the keys of a node, opens them again, and gives them to another KEK', async () => {
    const config = newConfig({ kekUris: [await kekInSoftToken()] });
    const node = await running(config);
    const client = clientOf(node);
    await client.set('first', 'value');
    await node.admin.rotate('raft');
    await node.admin.rotate('storage');
    await client.set('second', 'value');
    const [kekUri = ''] = urisOf(node);
    expect(kekUri).toBe('pkcs11:token=raftseal;object=kek');
    await node.stop();

    const again = await running(config);
    for (const kekUris of [[...config.kekUris, vaultUri()], [vaultUri()]]) {
      expect(await post(again, config, '/v1/keks/use', { kekUris })).toBe('done');
      expect(await post(again, config, '/v1/keys/rewrap')).toBe('done');
    }
    expect(urisOf(again)).toEqual(new Set([vaultUri()]));
    await clientOf(again).set('third', 'value');
    await again.stop();
    await expect(startNode(config)).rejects.toMatchObject({ code: 'RAFTSEAL_KEK_MISMATCH' });

    const last = await running({ ...config, kekUris: [vaultUri()] });
    for (const key of ['first', 'second', 'third']) {
      expect(await clientOf(last).get(key)).toBe('value');
    }
  });
});

describe('a key service that is out of reach', { timeout: TIME_LIMIT_MS }, () => {
  it('lets a node that runs go on, and makes no key and opens no node until it is back', async () => {
    const config = newConfig({ kekUris: [vaultUri()] });
    const node = await running(config, impatient);
    const client = clientOf(node);
    vault.sealed = true;
    expect(await client.set('key', 'value')).toBe('OK');
    await expect(node.admin.rotate('raft')).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_UNAVAILABLE',
    });
    expect(await client.set('later', 'value')).toBe('OK');
    expect(node.admin.healthy).toBe(true);
    await node.stop();
    await expect(startNode(config, impatient)).rejects.toMatchObject({
      message: expect.stringContaining(vaultUri()),
    });
    vault.sealed = false;
    const again = await running(config, impatient);
    expect(await clientOf(again).get('later')).toBe('value');
    expect(typeof (await again.admin.rotate('raft'))).toBe('number');
  });

  it('does not keep a node from starting that has another KEK', async () => {
    const [file = ''] = newConfig().kekUris;
    const config = newConfig({ kekUris: [file, vaultUri()] });
    const node = await running(config, impatient);
    await clientOf(node).set('key', 'value');
    await node.stop();
    vault.sealed = true;
    const again = await running(config, impatient);
    expect(await clientOf(again).get('key')).toBe('value');
    expect(again.admin.status().kekUris).toEqual(config.kekUris);
    vault.sealed = false;
    await again.admin.rotate('storage');
    for (const key of again.admin.status().keys) expect(key.kekUris).toEqual([file, vaultUri()]);
  });

  it('is asked again where it is busy or breaks off', async () => {
    const config = newConfig({ kekUris: [vaultUri()] });
    const node = await running(config);
    const busy = { kind: 'answer', answer: { status: 429, body: { errors: ['busy'] } } } as const;
    for (const fault of [busy, { kind: 'reset' }, { kind: 'half' }] as const) {
      vault.http.failNext(fault, { times: 2 });
      expect(typeof (await node.admin.rotate('raft'))).toBe('number');
    }
  });
});
