/** A key service that is away, slow or flaky for a while, again and again, as a seed has it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault, HttpAnswer, Vault } from '@raftseal/kek-services-for-tests';
import type { Random } from '../random.ts';

export interface Burst {
  readonly kind: (typeof kinds)[number];
  readonly atMs: number;
  readonly durationMs: number;
}

export interface BurstRecord {
  readonly kind: Burst['kind'];
  readonly beganAtMs: number;
  readonly endedAtMs: number;
  /** Requests that arrived meanwhile. */
  readonly requests: number;
}

const kinds = ['silent', 'slow', 'failing', 'busy', 'sealed', 'half', 'reset', 'flaky'] as const;

const GAP_MS = 2_500;
const FLAKY_REQUESTS = 2_000;

export function planBursts(random: Random, windowMs: number): readonly Burst[] {
  const bursts: Burst[] = [];
  for (let atMs = random.between(0, GAP_MS); atMs < windowMs; ) {
    // Longer than a call is tried for, now and then.
    const durationMs = random.chance(0.2) ? random.between(8e3, 18e3) : random.between(500, 6e3);
    bursts.push({ kind: random.pick(kinds), atMs, durationMs });
    atMs += durationMs + random.between(0.2 * GAP_MS, GAP_MS);
  }
  return bursts;
}

export class VaultNemesis {
  readonly #vault: Vault;
  readonly #random: Random;
  readonly #records: BurstRecord[] = [];
  readonly #calming = new AbortController();
  #carriedOut: Promise<void> = Promise.resolve();

  constructor(vault: Vault, random: Random) {
    this.#vault = vault;
    this.#random = random;
  }

  get records(): readonly BurstRecord[] {
    return this.#records;
  }

  begin(plan: readonly Burst[], originMs: number): void {
    this.#carriedOut = this.#carryOut(plan, originMs);
  }

  /** Ends the burst that goes on, and no other begins. */
  calm(): void {
    this.#calming.abort();
  }

  /** Resolves once the last burst is over. */
  async end(): Promise<void> {
    await this.#carriedOut;
  }

  async #carryOut(plan: readonly Burst[], originMs: number): Promise<void> {
    const { http } = this.#vault;
    for (const { kind, atMs, durationMs } of plan) {
      await this.#until(originMs + atMs);
      if (this.#calming.signal.aborted) return;
      const [beganAtMs, before] = [performance.now(), http.requests.length];
      this.#inflict(kind);
      await this.#until(beganAtMs + durationMs);
      http.clearFaults();
      const requests = http.requests.length - before;
      this.#records.push({ kind, beganAtMs, endedAtMs: performance.now(), requests });
    }
  }

  async #until(atMs: number): Promise<void> {
    const { signal } = this.#calming;
    const ms = Math.max(0, atMs - performance.now());
    await delay(ms, undefined, { signal }).catch(() => undefined);
  }

  #inflict(kind: Burst['kind']): void {
    const { http } = this.#vault;
    const { [kind]: fault } = faults;
    if (fault !== undefined) http.failNext(fault, { times: Number.POSITIVE_INFINITY });
    else {
      const each = [...Object.values(faults), unharmed, unharmed];
      for (let n = 0; n < FLAKY_REQUESTS; n++) http.failNext(this.#random.pick(each));
    }
  }
}

const unharmed: Fault = { kind: 'change', change: (answer) => answer };

const faults: Partial<Record<Burst['kind'], Fault>> = {
  silent: { kind: 'silence' },
  slow: { kind: 'late', ms: 900 },
  failing: { kind: 'answer', answer: refused(500, 'internal error') },
  busy: { kind: 'answer', answer: refused(429, 'too many requests') },
  sealed: { kind: 'answer', answer: refused(503, 'Vault is sealed') },
  half: { kind: 'half' },
  reset: { kind: 'reset' },
};

function refused(status: number, error: string): HttpAnswer {
  return { status, body: { errors: [error] } };
}
