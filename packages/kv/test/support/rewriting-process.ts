/**
 * A process that brings the rows of a shard under another DEK, little by little, until it is killed.
 * It prints how many rows it has done, after each checkpoint.
 */
import { KvStateMachine } from '../../src/index.ts';
import { NEXT_DEK, rowSeal } from './seal.ts';

async function main(directory: string, nonceEpoch: number): Promise<void> {
  const machine = await KvStateMachine.open({
    directory,
    shardId: 3,
    seal: rowSeal(1, nonceEpoch, NEXT_DEK),
    checkpointIdleMs: 1,
    rewriteBytesPerSecond: 60_000,
  });
  let checkpoints = 0;
  setInterval(() => {
    const statistics = machine.statistics();
    if (statistics.checkpoints === checkpoints) return;
    checkpoints = statistics.checkpoints;
    const { rowsDone, rowsTotal } = statistics.rewrite ?? { rowsDone: 0, rowsTotal: 0 };
    process.stdout.write(`${rowsDone} of ${rowsTotal}\n`);
  }, 1);
}

const [directory = '', nonceEpoch = ''] = process.argv.slice(2);
await main(directory, Number(nonceEpoch));
