/**
 * A key service that is away, slow or flaky for a while, again and again, as a seed has it. A burst of
 * faults begins with a request, so that none comes while nobody asks.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault, HttpAnswer, Vault } from '@raftseal/kek-services-for-tests';
import type { Random } from '../random.ts';

/** What a request meets. */
export type VaultFaultKind = 'silent' | 'slow' | 'failing' | 'busy' | 'sealed' | 'half' | 'reset';

export interface Burst {
  readonly kind: VaultFaultKind | 'flaky';
  /** So many requests are let through before the one that it begins with. */
  readonly afterRequests: number;
  readonly durationMs: number;
}

export interface BurstRecord {
  readonly kind: Burst['kind'];
  readonly beganAtMs: number;
  readonly endedAtMs: number;
  /** What each request met that arrived meanwhile; of a flaky service, some are let through. */
  readonly met: readonly VaultFaultKind[];
}

const AFTER_REQUESTS_MAX = 12;
const FLAKY_REQUESTS = 2_000;
const POLL_MS = 10;
/** A call is tried for 15 s. */
const STRIKE_MS = 18_000;

export function planBursts(random: Random, count: number): readonly Burst[] {
  return Array.from({ length: count }, () => ({
    kind: random.pick([...faultKinds, 'flaky' as const]),
    afterRequests: random.below(AFTER_REQUESTS_MAX + 1),
    // Longer than a call is tried for, now and then.
    durationMs: random.chance(0.1) ? random.between(6e3, 18e3) : random.between(300, 3e3),
  }));
}

export class VaultNemesis {
  readonly #vault: Vault;
  readonly #random: Random;
  readonly #records: BurstRecord[] = [];
  readonly #calming = new AbortController();
  #strike: Burst | undefined;
  #carriedOut: Promise<void> = Promise.resolve();

  constructor(vault: Vault, random: Random) {
    this.#vault = vault;
    this.#random = random;
  }

  get records(): readonly BurstRecord[] {
    return this.#records;
  }

  begin(plan: readonly Burst[]): void {
    this.#carriedOut = this.#carryOut(plan);
  }

  /**
   * The next burst is longer than a call is tried for, and begins after so many requests, or once
   * the one that goes on is over.
   */
  strike(afterRequests: number): void {
    this.#strike = { kind: this.#random.pick(refusing), afterRequests, durationMs: STRIKE_MS };
  }

  /** Ends the burst that goes on, and no other begins. */
  calm(): void {
    this.#calming.abort();
  }

  /** Resolves once the last burst is over. */
  async end(): Promise<void> {
    await this.#carriedOut;
  }

  async #carryOut(plan: readonly Burst[]): Promise<void> {
    for (const planned of plan) {
      const burst = this.#strike ?? planned;
      this.#strike = undefined;
      await this.#carryOutBurst(burst);
      this.#vault.http.clearFaults();
      if (this.#calming.signal.aborted) return;
    }
  }

  /** A strike comes before a burst that has not begun. */
  async #carryOutBurst({ kind, afterRequests, durationMs }: Burst): Promise<void> {
    const { http } = this.#vault;
    const from = http.met.length + afterRequests;
    if (afterRequests > 0) http.failNext(letThrough, { times: afterRequests });
    this.#inflict(kind);
    while (http.met.length <= from) {
      if (this.#strike !== undefined || this.#calming.signal.aborted) return;
      await this.#pause(POLL_MS);
    }
    const beganAtMs = performance.now();
    await this.#pause(durationMs);
    const met = http.met.slice(from).flatMap((fault) => kindOf(fault) ?? []);
    this.#records.push({ kind, beganAtMs, endedAtMs: performance.now(), met });
  }

  async #pause(ms: number): Promise<void> {
    const { signal } = this.#calming;
    await delay(ms, undefined, { signal }).catch(() => undefined);
  }

  #inflict(kind: Burst['kind']): void {
    const { http } = this.#vault;
    if (kind !== 'flaky') http.failNext(faults[kind], { times: Number.POSITIVE_INFINITY });
    else {
      const each = [...Object.values(faults), letThrough, letThrough];
      for (let n = 0; n < FLAKY_REQUESTS; n++) http.failNext(this.#random.pick(each));
    }
  }
}

const letThrough: Fault = { kind: 'change', change: (answer) => answer };

const faults: Readonly<Record<VaultFaultKind, Fault>> = {
  silent: { kind: 'silence' },
  slow: { kind: 'late', ms: 900 },
  failing: { kind: 'answer', answer: refused(500, 'internal error') },
  busy: { kind: 'answer', answer: refused(429, 'too many requests') },
  sealed: { kind: 'answer', answer: refused(503, 'Vault is sealed') },
  half: { kind: 'half' },
  reset: { kind: 'reset' },
};

/** Those under which no call is done in time. */
const refusing: readonly VaultFaultKind[] = ['silent', 'failing', 'busy', 'sealed', 'reset'];

const faultKinds = Object.keys(faults) as readonly VaultFaultKind[];

function kindOf(fault: Fault | undefined): VaultFaultKind | undefined {
  return faultKinds.find((kind) => faults[kind] === fault);
}

function refused(status: number, error: string): HttpAnswer {
  return { status, body: { errors: [error] } };
}
