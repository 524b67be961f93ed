/**
 * `npm run bench [-- seal|server|growth ...] [--rounds N] [--scale X]`: prints markdown tables. Servers
 * and load generators run on loopback, end by themselves, and leave nothing behind.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { growthBench } from './growth-bench.ts';
import { sealBench } from './seal-bench.ts';
import { serverBench } from './server-bench.ts';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' }, scale: { type: 'string', default: '1' } },
});
const rounds = Number(values.rounds);
const scale = Number(values.scale);
if (!(rounds >= 1) || !(scale > 0)) throw new RangeError('--rounds and --scale are positive');

const benches: Readonly<Record<string, () => Promise<string> | string>> = {
  seal: sealBench,
  server: () => serverBench({ rounds, scale }),
  growth: () => growthBench(Math.min(rounds, 3)),
};

const wanted = positionals.length === 0 ? Object.keys(benches) : positionals;
process.stdout.write(
  `Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? 'CPU'}\n\n`,
);
for (const name of wanted) {
  const bench = benches[name];
  if (!bench) throw new RangeError(`${name}: expected ${Object.keys(benches).join(', ')}`);
  process.stdout.write(`${await bench()}\n\n`);
}
