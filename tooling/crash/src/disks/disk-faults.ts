/**
 * A node that is alone, under load, on a disk that fills up or becomes read-only. Clients get errors
 * with codes meanwhile, and once the disk is as it was, the next start has all that was
 * acknowledged.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { codeOf } from '@raftseal/interface';
import { Random } from '@raftseal/rigs/random';
import { NodeLoad } from '../power/node-load.ts';
import { TestDisk } from '../power/test-disk.ts';
import { LoneNode, verifyProblems } from '../world/lone-node.ts';
import { type ScenarioResult, Tally } from '../world/report.ts';
import { assertInSandbox } from '../world/sandbox.ts';

/** A disk, and what goes wrong with it. */
interface FailingDisk {
  readonly path: string;
  /** Refuses what is written from here on. */
  fail(): Promise<void>;
  /** The node has ended meanwhile. */
  mend(): Promise<void>;
  remove(): Promise<void>;
}

/** Three segments of a log, and stores. */
const TMPFS_BYTES = 260 * 1024 * 1024;
const MEBIBYTE = 1024 * 1024;
/** How long writes go on before the fault, and with it. */
const BEFORE_MS_MAX = 1_500;
const FAULT_MS_MAX = 30_000;
/** Of refusals, before what the node does next is of no more interest. */
const REFUSALS_ENOUGH = 50;
const POLL_MS = 20;

export interface DiskFaultsOptions {
  readonly fault: 'full' | 'read-only';
  readonly scratch: string;
  readonly rounds: number;
  readonly seed: number;
  /** A planted bug: what was sent counts as acknowledged. */
  readonly isEarly: boolean;
}

export async function diskFaults(options: DiskFaultsOptions): Promise<ScenarioResult> {
  const { fault, rounds, isEarly, scratch } = options;
  const label = `node, ${fault} disk${isEarly ? ': early' : ''}`;
  const tally = new Tally(label, isEarly);
  const random = new Random(options.seed, label);
  for (let round = 0; round < rounds && !(isEarly && tally.violationCount > 0); round++) {
    const disk = fault === 'full' ? smallDisk(scratch) : await readOnlyDisk(scratch);
    const problems = await oneRound(disk, { scratch, random, isEarly });
    if (problems === undefined) tally.void();
    else
      tally.run(
        fault,
        problems.map((text) => `round ${round}: ${text}`),
      );
    await disk.remove();
  }
  return tally.result();
}

/** @returns what is wrong; undefined where the disk refused nothing */
async function oneRound(
  disk: FailingDisk,
  { scratch, random, isEarly }: { scratch: string; random: Random; isEarly: boolean },
): Promise<readonly string[] | undefined> {
  const folder = join(scratch, 'node-on-failing-disk');
  mkdirSync(folder, { recursive: true });
  const directory = join(disk.path, 'data');
  const node = new LoneNode({ directory, folder });
  const load = new NodeLoad(random, isEarly);
  const problems: string[] = [];
  try {
    const ports = await node.start();
    const ended = load.run(ports.redis, () => undefined);
    await pause(random.below(BEFORE_MS_MAX));
    await disk.fail();
    const until = performance.now() + FAULT_MS_MAX;
    while (!node.hasEnded && performance.now() < until && load.refusals.size < 1) {
      await pause(POLL_MS);
    }
    // Some more, of what follows the first.
    for (let n = 0; n < REFUSALS_ENOUGH && !node.hasEnded; n++) await pause(POLL_MS);
    const isSeen = load.refusals.size > 0 || node.hasEnded;
    load.end();
    if (node.hasEnded && !/RAFTSEAL_\w+/.test(node.output())) {
      problems.push(`the node ended without a code: ${node.output().slice(-500)}`);
    }
    if (!node.hasEnded && !(await node.stop())) problems.push('the node does not stop');
    await ended;
    if (!isSeen) return undefined;
    for (const text of load.refusals.keys()) {
      if (!text.startsWith('RAFTSEAL_')) problems.push(`a client was told: ${text}`);
    }
    await disk.mend();
    const again = await node.start();
    problems.push(...(await load.problems(again.redis)));
    problems.push(...(await writesAgain(load, again.redis)));
    problems.push(...(await verifyProblems(directory, again)));
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  } finally {
    await node.kill();
    rmSync(folder, { recursive: true, force: true });
  }
  return problems;
}

async function writesAgain(load: NodeLoad, port: number): Promise<readonly string[]> {
  const before = load.refusals.size;
  await load.run(port, (count) => {
    if (count === REFUSALS_ENOUGH) load.end();
  });
  return load.refusals.size > before ? ['writes are refused after the disk was mended'] : [];
}

/** Memory that is a disk of its own, and can be filled to the last byte. */
function smallDisk(scratch: string): FailingDisk {
  assertInSandbox();
  const path = join(scratch, 'small-disk');
  mkdirSync(path, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${TMPFS_BYTES},mode=0700`, 'raftseal', path]);
  const filler = join(path, 'filler');
  return {
    path,
    fail: async () => {
      for (let bytes = MEBIBYTE; bytes >= 1; bytes = Math.floor(bytes / 2)) {
        try {
          for (;;) writeFileSync(filler, Buffer.alloc(bytes), { flag: 'a' });
        } catch (error) {
          if (codeOf(error) !== 'ENOSPC') throw error;
        }
      }
    },
    mend: async () => rmSync(filler),
    remove: async () => void execFileSync('umount', [path]),
  };
}

/** A file system that takes no write any more, as ext4 becomes when its disk fails. */
async function readOnlyDisk(scratch: string): Promise<FailingDisk> {
  const disk = await TestDisk.make('ext4', scratch);
  return {
    path: disk.mountPath,
    fail: () => disk.abort(),
    mend: async () => {
      await disk.unmount();
      await disk.mount();
    },
    remove: () => disk.remove(),
  };
}
