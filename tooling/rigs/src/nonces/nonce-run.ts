/** Worlds one after the other, each with a seed of its own, and what the audit says of each. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AuditMember, auditNonces, type NonceReport } from '@raftseal/server/nonces';
import { type NonceFault, NonceWorld } from './nonce-world.ts';
import type { NoncePlant } from './plants.ts';
import type { AppendOutcome } from './shared-log.ts';

export interface NonceRunOptions {
  readonly seed: number;
  readonly seals: number;
  readonly restarts: number;
  readonly plant?: NoncePlant | undefined;
  /** Told after each world. */
  readonly onProgress?: (line: string) => void;
}

export interface NonceRunResult {
  readonly worlds: number;
  readonly seals: number;
  /** Nonces that the audit has told apart. */
  readonly nonces: number;
  readonly restarts: number;
  readonly faults: ReadonlyMap<NonceFault, number>;
  readonly appends: ReadonlyMap<AppendOutcome, number>;
  readonly refusals: ReadonlyMap<string, number>;
  readonly findingCount: number;
  /** Findings and problems, the first of them. */
  readonly findings: readonly string[];
  readonly seconds: number;
}

/** As many as keep the log of a world short: each start makes entries that every later one reads. */
const RESTARTS_PER_WORLD = 500;
const FINDINGS_LISTED_MAX = 20;
/** Memory, where there is such a file system: disks flush at once, and nothing wears out. */
const FAST_DIRECTORY = '/dev/shm';

export async function nonceRun(options: NonceRunOptions): Promise<NonceRunResult> {
  const startedMs = performance.now();
  const worlds = Math.ceil(options.restarts / RESTARTS_PER_WORLD);
  const root = scratchDirectory();
  const sum = new Sum();
  try {
    for (let number = 0; number < worlds; number++) {
      const seed = options.seed + number;
      const directory = join(root, `world-${number}`);
      mkdirSync(directory);
      const world = new NonceWorld({
        seed,
        directory,
        seals: Math.ceil(options.seals / worlds),
        restarts: Math.ceil(options.restarts / worlds),
        plant: options.plant,
      });
      try {
        await world.run();
        sum.add(seed, world, await auditOf(world));
      } finally {
        await world.end();
        rmSync(directory, { recursive: true, force: true });
      }
      options.onProgress?.(`seed ${seed}: ${sum.seals} seals, ${sum.restarts} restarts so far`);
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  return { ...sum.result(), worlds, seconds };
}

function scratchDirectory(): string {
  try {
    return mkdtempSync(join(FAST_DIRECTORY, 'raftseal-nonces-'));
  } catch {
    return mkdtempSync(join(tmpdir(), 'raftseal-nonces-'));
  }
}

/** The audit as a cluster runs it: one member for each node, with all that its processes sealed. */
function auditOf(world: NonceWorld): Promise<NonceReport> {
  const members = world.processes.map(
    (process): AuditMember => ({
      nodeId: process.nodeId,
      directory: null,
      reads: 'log and stores',
      records: async function* ({ of }) {
        if (of > 1) throw new RangeError('a world has no more seals than one ledger holds');
        yield* world.records.get(process.nodeId) ?? [];
      },
      evidence: async () => process.evidence(),
    }),
  );
  return auditNonces(members);
}

class Sum {
  readonly #faults = new Map<NonceFault, number>();
  readonly #appends = new Map<AppendOutcome, number>();
  readonly #refusals = new Map<string, number>();
  readonly #findings: string[] = [];
  #nonces = 0;
  #findingCount = 0;
  seals = 0;
  restarts = 0;

  add(seed: number, world: NonceWorld, report: NonceReport): void {
    const { faults, appends, refusals, problems, seals, starts } = world;
    this.seals += seals;
    this.restarts += starts;
    this.#nonces += report.envelopes - report.copies;
    for (const [fault, count] of faults) increase(this.#faults, fault, count);
    for (const [outcome, count] of appends) increase(this.#appends, outcome, count);
    for (const [code, count] of refusals) increase(this.#refusals, code, count);
    const isWhole = report.envelopes === seals && report.copies === 0;
    const audited = `${report.envelopes} seals were audited, ${report.copies} of them twice`;
    const findings = [
      ...report.findings.map(({ code, text }) => `${code}: ${text}`),
      ...problems,
      ...(isWhole ? [] : [`${seals} seals were made, and ${audited}`]),
    ];
    this.#findingCount += report.findingCount + findings.length - report.findings.length;
    for (const text of findings) {
      if (this.#findings.length < FINDINGS_LISTED_MAX) this.#findings.push(`seed ${seed}: ${text}`);
    }
  }

  result(): Omit<NonceRunResult, 'worlds' | 'seconds'> {
    return {
      seals: this.seals,
      nonces: this.#nonces,
      restarts: this.restarts,
      faults: this.#faults,
      appends: this.#appends,
      refusals: this.#refusals,
      findingCount: this.#findingCount,
      findings: this.#findings,
    };
  }
}

function increase<Key>(counts: Map<Key, number>, key: Key, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
