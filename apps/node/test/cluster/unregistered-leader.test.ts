/** A node that was admitted and is no writer yet, with a claim to the control shard. */
import { startVault, type Vault } from '@raftseal/kek-services-for-tests';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { MemberStatus } from '../../src/admin/operations.ts';
import {
  clusterClient,
  configOf,
  etcdOfFile,
  ledBy,
  member,
  newPlace,
  until,
} from './running-cluster.ts';

const etcd = etcdOfFile();
let vault: Vault;

beforeAll(async () => {
  vault = await startVault();
  vault.createKey('transit/raftseal');
  process.env.VAULT_TOKEN = vault.token;
});

afterAll(() => vault.http.close());

const encryptions = (): number =>
  vault.http.requests.filter(({ path }) => path.includes('/encrypt/')).length;

it('does not lead before it can seal, or nobody could ever make it a writer', {
  timeout: 60_000,
}, async () => {
  const place = newPlace(etcd());
  const vaultUri = `vault-transit:${vault.http.origin}/transit/keys/raftseal`;
  const first = await member(configOf(place, 'a', { kekUris: [place.kekUri, vaultUri] }));
  const client = clusterClient([first]);
  await client.set('key', 'before');

  // The first node admits the second, then is busy with keys: the registration has to wait.
  const before = encryptions();
  vault.http.failNext({ kind: 'late', ms: 2_500 }, { times: Number.POSITIVE_INFINITY });
  const joining = member(configOf(place, 'b'));
  await until(() => encryptions() > before);
  const rewrapping = first.admin.rewrap().catch(() => undefined);
  const other = (): MemberStatus | undefined =>
    first.admin.status().cluster?.members.find(({ isSelf, redis }) => !isSelf && redis !== null);
  await until(() => other() !== undefined);
  const { term } = first.admin.status().shards[0] ?? {};
  await first.admin.preferLeader(0, other()?.nodeId ?? '');
  const asked = vault.http.requests.length;
  await until(() => vault.http.requests.length > asked + 1);
  // It is wished for all the while: neither is it given the lead, nor is it given up for it.
  expect(other()?.leads).not.toContain(0);
  expect(first.admin.status().shards[0]?.term).toBe(term);

  vault.http.clearFaults();
  const second = await joining;
  await rewrapping;
  await until(() => ledBy(second).includes(0));
  await client.set('key', 'after');
  expect(await client.get('key')).toBe('after');
});
