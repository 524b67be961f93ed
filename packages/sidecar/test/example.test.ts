/** The README's example, run. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KeyRecord, KeyState } from '@raftseal/interface';
import { expect, it } from 'vitest';
import { deriveMacKey, probeDirectory, SidecarFile } from '../src/index.ts';

it('README: writes a key state and reads it back', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'raftseal-example-'));

  const raftDek = randomBytes(32);
  const key = (purpose: KeyRecord['purpose']): KeyRecord => ({
    purpose,
    wraps: [{ kekUri: 'file:/etc/raftseal/kek', bytes: randomBytes(60) }], // a KEK provider's
    createdAtMs: Date.now(),
    nonceEpoch: 1,
  });
  const state: KeyState = {
    clusterId: randomBytes(16),
    nodeId: 'node-a',
    generation: 1n,
    appliedIndex: new Map([[0, 1n]]),
    cutoverIndex: new Map(),
    cutoverIntent: undefined,
    storageIndex: undefined,
    sealedOnlyIndex: undefined,
    activeDekId: { storage: 11, raft: 12, index: 13 },
    keys: new Map([
      [11, key('storage')],
      [12, key('raft')],
      [13, key('index')],
    ]),
    sealedClusterKeys: undefined,
    retired: new Map(),
    writers: new Map([[1, 'node-a']]),
    backups: new Map(),
  };

  await probeDirectory(directory); // throws where the file system cannot keep a promise
  const sidecar = new SidecarFile({ directory });
  await sidecar.write(state, { dekId: 12, macKey: deriveMacKey(raftDek) }); // durable from here on

  const found = await new SidecarFile({ directory }).read(); // undefined where there is no file
  console.assert(found?.macDekId === 12); // unwrap this DEK first, then verify
  const verified = found?.verify(deriveMacKey(raftDek));

  expect({ ...verified, clusterId: Buffer.from(verified?.clusterId ?? []) }).toEqual({
    ...state,
    keys: verified?.keys,
  });
  await rm(directory, { recursive: true });
});
