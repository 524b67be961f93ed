/** One node of a cluster loses its way to the KEK, and the others do not. */
import { assert, RaftsealError } from '@raftseal/interface';
import { expect, it, onTestFinished } from 'vitest';
import { kekFromUri } from '../../src/kek-from-uri.ts';
import type { OpenKek } from '../../src/kek-set.ts';
import { type Node, startNode } from '../../src/node.ts';
import { expectSameState, led } from './cluster-steps.ts';
import {
  adminsOf,
  clusterClient,
  configOf,
  etcdOfFile,
  ledBy,
  newPlace,
  until,
} from './running-cluster.ts';

const etcd = etcdOfFile();

/** The real KEK on a way that breaks after some more keys were opened. */
class KekOnBreakingWay {
  opensLeft = Number.POSITIVE_INFINITY;

  readonly open: OpenKek = async (uri) => {
    const kek = await kekFromUri(uri);
    return {
      kekUri: kek.kekUri,
      wrapKey: (dek, binding) => kek.wrapKey(dek, binding),
      unwrapKey: async (wrapped, binding) => {
        if (this.opensLeft-- > 0) return kek.unwrapKey(wrapped, binding);
        throw new RaftsealError('RAFTSEAL_KEK_UNAVAILABLE', 'the way to the KEK is broken');
      },
      close: () => kek.close(),
    };
  };
}

it('invariant 12: leaves leading the control shard to others, and follows once it is back', async () => {
  const place = newPlace(etcd());
  const nodes: Node[] = [];
  const ways = ['a', 'b', 'c'].map(() => new KekOnBreakingWay());
  for (const [at, name] of ['a', 'b', 'c'].entries()) {
    const way = ways[at];
    assert(way, 'every node has a way');
    const node = await startNode(configOf(place, name), { openKek: way.open });
    onTestFinished(() => node.stop());
    nodes.push(node);
  }
  await led(adminsOf(nodes));
  const at = nodes.findIndex((node) => ledBy(node).includes(0));
  const [leader, way] = [nodes[at], ways[at]];
  assert(leader && way, 'somebody leads');

  // The check before the rotation is proposed opens the new key; where it is applied it does not.
  way.opensLeft = 1;
  const rotation = leader.admin.rotate('storage').catch((error: unknown) => error);
  await until(() => nodes.some((node) => node !== leader && ledBy(node).includes(0)));
  const client = clusterClient(nodes);
  for (let n = 0; n < 50; n++) await client.set(`key:${n}`, 'value');
  expect(leader.admin.status().shards[0]).toMatchObject({ state: 'follower', haltCode: null });

  way.opensLeft = Number.POSITIVE_INFINITY;
  await rotation;
  await expectSameState(adminsOf(nodes));
}, 60_000);
