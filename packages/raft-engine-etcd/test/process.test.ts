/** Real processes: stopped and resumed, killed, two with one identity. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { useEtcd } from './cluster.ts';
import { appendRange, until } from './samples.ts';

const LEASE_TTL_MS = 2_000;
/** A shorter stop may pass for a slow step, however soon another leads. */
const NOTICED_AFTER_MS = 1_800;
const here = dirname(fileURLToPath(import.meta.url));
const cluster = useEtcd();
const children: ChildProcess[] = [];
let directory: string;
let program: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'leader-'));
  program = join(directory, 'leader-process.cjs');
  await build({
    entryPoints: [join(here, 'leader-process.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    conditions: ['@raftseal/source'],
    logLevel: 'error',
  });
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

afterAll(() => rm(directory, { recursive: true }));

interface LeaderProcess {
  readonly child: ChildProcess;
  /** What it has said so far. */
  readonly lines: readonly string[];
  /** Resolves with its exit code. */
  readonly ended: Promise<number | null>;
}

/** Resolves once it leads. */
async function startLeader(): Promise<LeaderProcess> {
  const args = [program, cluster.etcd.endpoints[0] ?? '', cluster.prefix, `${LEASE_TTL_MS}`];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const lines: string[] = [];
  child.stdout.on('data', (bytes: Buffer) => {
    lines.push(...bytes.toString('latin1').split('\n').slice(0, -1));
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  await until(() => lines.some((line) => line.startsWith('leading') || line.startsWith('failed')));
  expect(lines).toEqual(['append 1 done', 'leading true']);
  return { child, lines, ended };
}

it('a leader that was stopped knows at once that it is none, and etcd fences it', async () => {
  const { child, lines, ended } = await startLeader();
  child.kill('SIGSTOP');
  const noticed = delay(NOTICED_AFTER_MS);
  const rival = (await cluster.open({ nodeId: 'b', leaseTtlMs: LEASE_TTL_MS })).engine(7);
  const leadership = await rival.elect();
  expect(leadership.headIndex).toBe(1n);
  await noticed;
  child.kill('SIGCONT');
  await until(() => lines.length > 2);
  expect(lines[2]).toBe('resumed false true');
  await until(() => lines.length > 4);
  expect(lines.slice(3, 5)).toEqual(['append 2 fenced', 'confirmed false']);
  await appendRange(rival, leadership, 2n, 2n);
  await leadership.resign();
  expect(await ended).toBe(0);
  expect(lines).toHaveLength(5);
});

it('invariant 3: a node whose copy took over while it was stopped never leads again', async () => {
  const { child, lines, ended } = await startLeader();
  child.kill('SIGSTOP');
  const noticed = delay(NOTICED_AFTER_MS);
  // The copy waits until the presence of the one that was stopped has lapsed.
  const copy = await cluster.open({ nodeId: 'a', leaseTtlMs: LEASE_TTL_MS });
  const leadership = await copy.engine(7).elect();
  await noticed;
  child.kill('SIGCONT');
  expect(await ended).toBe(0);
  const [resumed, ...rest] = lines.slice(2);
  expect(resumed).toBe('resumed false true');
  expect([...rest].sort()).toEqual([
    'append 2 fenced',
    'confirmed false',
    'displaced RAFTSEAL_ENGINE_DISPLACED',
    'elect RAFTSEAL_ENGINE_DISPLACED',
  ]);
  expect(leadership.isCurrent()).toBe(true);
  await appendRange(copy.engine(7), leadership, 2n, 3n);
});

it('the shard of a leader that is killed goes to another once its lease has lapsed', async () => {
  const { child, ended } = await startLeader();
  const rival = (await cluster.open({ nodeId: 'b' })).engine(7);
  const candidacy = rival.elect();
  child.kill('SIGKILL');
  await ended;
  const leadership = await candidacy;
  expect(leadership.headIndex).toBe(1n);
  await appendRange(rival, leadership, 2n, 2n);
});
