/**
 * `npm run bench [-- <benchmark> ...] [--rounds N] [--scale X]`: prints markdown tables. Servers and
 * load generators run on loopback, end by themselves, and leave nothing behind.
 */
import { constants, cpus } from 'node:os';
import { inspect, parseArgs } from 'node:util';
import { catchUpBench } from './cluster/catch-up-bench.ts';
import { failoverBench } from './cluster/failover-bench.ts';
import { etcdBench } from './etcd/etcd-bench.ts';
import { growthBench } from './growth-bench.ts';
import { sealBench } from './seal-bench.ts';
import { serverBench } from './server-bench.ts';
import { closeEverything } from './teardown.ts';

const usage = `usage: npm run bench [-- [<benchmark> ...] [--rounds <n>] [--scale <x>]]

  seal       seal and open against bare node:crypto
  server     SET and GET against redis-server --appendfsync always
  growth     restart time and memory against the number of keys
  etcd       proposals to shard groups over etcd against plain puts, and group commit against
             one transaction per shard
  failover   how long writes stand still when a node is killed, stopped, and comes back
  catch-up   how fast a new learner installs snapshots and then follows the log

Without a name: all. --rounds: how often everything is measured, by default 5 times, growth and
catch-up 3 times at most. --scale: multiplies the length of each run of server and etcd, by
default 1.
`;

/** Several times what the longest takes: only a hang is ended. */
const BENCH_MS_MAX = 60 * 60_000;
const CLOSED_WITHIN_MS = 10_000;

interface Options {
  readonly rounds: number;
  readonly scale: number;
}

const benches: Readonly<Record<string, (options: Options) => Promise<string> | string>> = {
  seal: sealBench,
  server: serverBench,
  growth: ({ rounds }) => growthBench(Math.min(rounds, 3)),
  etcd: etcdBench,
  failover: ({ rounds }) => failoverBench(rounds),
  'catch-up': ({ rounds }) => catchUpBench(Math.min(rounds, 3)),
};

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => void end(128 + constants.signals[signal]));
}
try {
  await run();
} catch (error) {
  process.stderr.write(`${inspect(error)}\n`);
  process.exitCode = 1;
}

async function run(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '5' },
      scale: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  });
  const options = { rounds: Number(values.rounds), scale: Number(values.scale) };
  const areGood = Number.isSafeInteger(options.rounds) && options.rounds > 0 && options.scale > 0;
  const wanted = positionals.length === 0 ? Object.keys(benches) : positionals;
  const unknown = wanted.find((name) => !Object.hasOwn(benches, name));
  if (values.help || unknown !== undefined || !areGood) {
    process.stdout.write(usage);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  process.stdout.write(
    `Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? 'CPU'}\n\n`,
  );
  for (const name of wanted) {
    const late = setTimeout(() => void end(1, `${name} takes too long\n`), BENCH_MS_MAX);
    try {
      process.stdout.write(`${await benches[name]?.(options)}\n\n`);
    } finally {
      clearTimeout(late);
    }
  }
}

async function end(exitCode: number, why = ''): Promise<void> {
  process.stderr.write(why);
  setTimeout(() => process.exit(exitCode), CLOSED_WITHIN_MS);
  await closeEverything();
  process.exit(exitCode);
}
