import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

it('the example of the README runs', async () => {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'raftseal-applier-'));
  const installed = await example(dataDirectory);
  expect(installed).toEqual([{ shardId: 0, cutoverIndex: 2n, dekId: 2002 }]);
  rmSync(dataDirectory, { recursive: true });
});

it('the README quotes it', () => {
  const own = readFileSync(new URL(import.meta.url), 'utf8');
  const [, quoted = ''] = own.split(/^\/\/ README example: .*\n/m);
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  expect(readme).toContain(`\`\`\`ts\n${quoted}\`\`\``);
});

// README example: begin
import { randomBytes } from 'node:crypto';
import {
  type Install,
  KeyLifecycle,
  type KeyLifecycleEntry,
  MemoryWriterRegistry,
  precheck,
  readKeyState,
  unwrapWith,
} from '@raftseal/applier';
import { Keyring } from '@raftseal/envelope';
import { kekInMemory } from '@raftseal/kek-memory';
import { SidecarFile } from '@raftseal/sidecar';

async function example(dataDirectory: string): Promise<Install[]> {
  const nodeId = 'node-1';
  const kek = kekInMemory({ kek: randomBytes(32), kekUri: 'memory:example' });
  const unwrapDek = unwrapWith([kek]);
  const sidecar = new SidecarFile({ directory: dataDirectory });
  const registry = new MemoryWriterRegistry(); // a node keeps it in a durable store
  const installed: Install[] = [];

  // Start: the state is authenticated before it is used, then every DEK is loaded.
  const state = await readKeyState({ nodeId, sidecar, unwrapDek });
  const lifecycle = new KeyLifecycle({
    nodeId,
    state,
    unwrapDek,
    keyring: new Keyring(),
    registry,
    sidecar,
    installer: (install) => void installed.push(install), // a node sets the shard's wrap
    controlWaitMs: 10_000,
  });
  await lifecycle.startupInstall();
  lifecycle.noteControlHead(0n); // the control log's head as this process found it

  // Leader: check, then propose. Replica: apply what the log says, in its order.
  const shardId = 0;
  let index = 0n;
  const propose = async (entry: KeyLifecycleEntry): Promise<void> => {
    const { body } = await precheck(
      { state: lifecycle.state, registry, unwrapDek },
      { shardId, entry },
    );
    index += 1n; // a node appends `body` to the shard's log here
    await lifecycle.apply({ shardId, index, body });
  };
  const clusterId = randomBytes(16);
  const newKey = async (dekId: number, purpose: 'storage' | 'raft' | 'index') => {
    const bytes = await kek.wrapKey(randomBytes(32), { clusterId, dekId, purpose });
    const createdAtMs = Date.now();
    return { dekId, purpose, wraps: [{ kekUri: kek.kekUri, bytes }], createdAtMs };
  };
  const keys = [
    await newKey(1001, 'storage'),
    await newKey(2002, 'raft'),
    await newKey(3003, 'index'),
  ];
  await propose({ kind: 'bootstrap', clusterId, keys, writers: [nodeId] });
  await propose({ kind: 'enable-raft', dekId: 2002, controlIndex: 0n, waves: [] });

  // Seal: only with a claimed epoch that the registry shows.
  const { writerId, nonceEpoch, claimId } = await lifecycle.claimNonceEpoch(2002);
  if (!lifecycle.isRegistered(2002)) {
    await propose({ kind: 'register', nodeId, dekId: 2002, epoch: nonceEpoch, claimId });
  }
  console.assert(writerId === 1 && nonceEpoch === 1);
  await lifecycle.close();
  return installed;
}
// README example: end
