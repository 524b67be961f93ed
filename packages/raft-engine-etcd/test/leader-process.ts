/**
 * The process that tests stop and resume: leads shard 7 as node `a`, appends one entry, and watches
 * the clock without letting its timers run. After it was stopped for a while it says at once what
 * it takes itself for, then what etcd makes of its next append, and ends by itself.
 * Arguments: endpoint, prefix, TTL of its lease in ms.
 */
import { writeSync } from 'node:fs';
import { codeOf, type Leadership, type RaftEngine } from '@raftseal/interface';
import { openEtcdLog } from '../src/index.ts';

const [endpoint = '', prefix = '', leaseTtlMs = ''] = process.argv.slice(2);

async function lead(): Promise<void> {
  const log = await openEtcdLog({
    access: { endpoints: [endpoint] },
    prefix,
    nodeId: 'a',
    shardIds: [7],
    leaseTtlMs: Number(leaseTtlMs),
    leaseMarginMs: 500,
    onDisplaced: (error) => say(`displaced ${error.code}`),
  });
  const engine = log.engine(7);
  const leadership = await engine.elect();
  await append(engine, leadership, 1n);
  say(`leading ${leadership.isCurrent()}`);
  waitUntilStopped();
  say(`resumed ${leadership.isCurrent()} ${leadership.signal.aborted}`);
  await append(engine, leadership, 2n);
  say(`confirmed ${await leadership.confirm()}`);
  await engine.elect().catch((error: unknown) => say(`elect ${codeOf(error)}`));
  await log.close();
}

async function append(engine: RaftEngine, { term }: Leadership, index: bigint): Promise<void> {
  const { outcome } = await engine.append({ term, index, payload: Buffer.from('of a') });
  say(`append ${index} ${outcome}`);
}

/** Returns once a step took far longer than a step takes. */
function waitUntilStopped(): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let before = performance.now(); ; before = performance.now()) {
    Atomics.wait(cell, 0, 0, 5);
    if (performance.now() - before > 1_500) return;
  }
}

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

lead().catch((error: unknown) => {
  say(`failed ${codeOf(error)} ${String(error)}`);
  process.exitCode = 3;
});
