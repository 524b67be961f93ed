/**
 * A cluster to try out, on this machine alone: three members of etcd and three nodes, until Ctrl-C.
 *
 *     npm run cluster -- [--data <dir>] [--shards <n>] [--chaos [--seconds <n>]]
 *
 * Without `--data` everything is in a temporary directory and goes with the cluster. With `--chaos`
 * the node that leads most shards is killed again and again while a client writes, and what the
 * client saw is printed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { requirePrograms } from '../world/programs.ts';
import { World } from '../world/world.ts';
import { chaos } from './chaos.ts';

const PARENT_POLL_MS = 250;

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    shards: { type: 'string', default: '16' },
    chaos: { type: 'boolean', default: false },
    seconds: { type: 'string' },
  },
});
const shardCount = Number(values.shards);
if (!Number.isSafeInteger(shardCount) || shardCount < 1 || shardCount > 1024) {
  throw new RangeError('--shards: expected 1 to 1024');
}
const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
if (seconds !== undefined && !(seconds > 0)) throw new RangeError('--seconds: expected a number');
requirePrograms('loopback');

const stopping = new AbortController();
const stop = (): void => stopping.abort();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) stop();
}, PARENT_POLL_MS).unref();
if (seconds !== undefined) setTimeout(stop, seconds * 1000).unref();

const temporary = values.data === undefined ? mkdtempSync(join(tmpdir(), 'raftseal-')) : undefined;
const directory = temporary ?? resolve(values.data ?? '');
const program = fileURLToPath(new URL('../../../../apps/node/dist/main.js', import.meta.url));
const world = await World.make({
  directory,
  program,
  shardCount,
  hosts: 'loopback',
  encryption: 'on',
  leaseTtlMs: 3_000,
});
try {
  print(`starting three members of etcd and three nodes in ${directory}`);
  world.startEtcd();
  world.startNodes();
  await world.ready();
  print(introduction());
  if (values.chaos) await chaos(world, { shardCount, print, signal: stopping.signal });
  else await stopped();
} finally {
  await world.stop();
  if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
}
process.exit();

function introduction(): string {
  const nodes = world.nodes.map(
    ({ process: { name }, place, admin }) =>
      `  ${name}  redis-cli -c -p ${place.redisPort}   admin API ${admin.url}`,
  );
  const [first] = world.nodes;
  const options = `--admin ${first?.admin.url} --token-file ${world.tokenPath}`;
  return [
    `${shardCount} shards, sealed from the first entry on; the KEK is ${join(directory, 'kek')}`,
    ...nodes,
    `  node ${program} status ${options}`,
    values.chaos ? '' : 'Ctrl-C stops everything.\n',
  ].join('\n');
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Resolves when the cluster is to stop, or a process of it has ended by itself. */
async function stopped(): Promise<void> {
  await new Promise<void>((resolveWait) => {
    stopping.signal.addEventListener('abort', () => resolveWait(), { once: true });
    const watch = setInterval(() => {
      const ended = world.processes.find(({ unexpectedExit }) => unexpectedExit !== undefined);
      if (ended === undefined) return;
      clearInterval(watch);
      print(`${ended.unexpectedExit}\n${ended.output().slice(-2_000)}`);
      process.exitCode = 1;
      resolveWait();
    }, PARENT_POLL_MS);
  });
}
