/** How a process becomes a writer while keys change under it. */
import { RaftsealError } from '@raftseal/interface';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import {
  WriterRegistration,
  type WriterRegistrationParts,
} from '../../src/cluster/writer-registration.ts';
import { KekSet } from '../../src/kek-set.ts';
import { leadingKeyNode, newCluster, newKek, openKeyNode, until } from '../key-world.ts';

/** As the control shard's leader that may not seal under the new key yet answers: try again. */
async function neverRecorded(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 1));
  throw new RaftsealError('RAFTSEAL_NODE_WRITER_NOT_REGISTERED', 'nothing was recorded');
}

it('invariant 12: a registration that a rotation has overtaken gives way to the next', async () => {
  const cluster = newCluster(['a', 'b'], [0]);
  const keks = KekSet.of(await newKek());
  const a = await leadingKeyNode({ cluster, shardIds: [0], keks, otherMembers: ['b'] });
  const options = { cluster, shardIds: [0], keks, nodeId: 'b' };
  const before = await openKeyNode(options);
  await a.operations.enableEncryption();
  await until(() => before.keys.state.cutoverIndex.has(0));
  await before.stop();
  const b = await openKeyNode({ ...options, directory: before.directory });
  const first = b.keys.state.activeDekId.raft;
  const asked: number[] = [];
  const record: WriterRegistrationParts['record'] = async (request, signal) => {
    asked.push(request.dekId);
    if (request.dekId === first) await neverRecorded(signal);
    else await a.operations.recordRegistration(request);
  };
  const { lifecycle: keyLifecycle } = b.keys;
  const log = pino({ level: 'silent' });
  const registration = new WriterRegistration({ nodeId: 'b', keyLifecycle, record, log });
  onTestFinished(() => registration.close());

  const registered = registration.ensure();
  await until(() => asked.length === 1);
  const second = await a.operations.rotate('raft');
  await registered;

  expect(asked).toEqual([first, second, b.keys.state.activeDekId.storage]);
  expect(registration.isComplete).toBe(true);
});
