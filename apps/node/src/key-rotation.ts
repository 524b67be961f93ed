/**
 * Rotates keys without an operator: for their use, their age, or because they were made before a
 * time. Every node looks every second; only the one that leads the control shard acts.
 *
 * What is due is read from the key state, which all nodes share: a rotation that another leader has
 * made is not made again. Clocks are not trusted with how often: a purpose is rotated once an hour
 * at most, by a clock that nobody sets, whichever node did it before, unless this node's own seals
 * use the key up. A rotation that fails, as without the KEK, waits and is tried again; until then
 * the old key is used.
 */
import { codeOf, type KeyPurpose, type KeyState, type WriterRegistry } from '@raftseal/interface';
import type { Logger } from 'pino';
import type { KeyOperations } from './key-operations.ts';
import {
  agedAtMs,
  type KeyUse,
  ROTATION_DEFAULT,
  type RotationCause,
  type RotationPolicy,
  rotationCause,
  SEALS_ROTATED,
  SEALS_WARNED,
} from './rotation-policy.ts';
import type { SealLedger } from './seal-ledger.ts';

export interface KeyRotationParts {
  readonly keys: {
    readonly state: KeyState;
    readonly registry: Pick<WriterRegistry, 'row'>;
    readonly ledger: Pick<SealLedger, 'seals' | 'sealsOfCluster'>;
  };
  readonly operations: Pick<KeyOperations, 'rotateIf'>;
  /** Undefined: the default. */
  readonly policy: RotationPolicy | undefined;
  /** Whether this node leads the control shard and may serve it now. */
  readonly leads: () => boolean;
  /** Milliseconds since the Unix epoch. Default: the clock of the platform. */
  readonly clock?: () => number;
  /** Milliseconds by a clock that nobody sets. Default: the one of the platform. */
  readonly monotonicClock?: () => number;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

/** What will rotate an active key. */
export interface NextRotation {
  readonly cause: RotationCause;
  /** Milliseconds since the Unix epoch; undefined for now. */
  readonly atMs: number | undefined;
  /** Code of what keeps this node from doing it. */
  readonly heldUpBy: string | undefined;
}

const purposes: readonly KeyPurpose[] = ['storage', 'raft', 'index'];
const PERIOD_MS = 1_000;
const RETRY_MS = 15_000;
const PAUSE_MS = 3_600_000;

interface Watched {
  dekId: number;
  /** When this node saw a rotation, by the monotonic clock. */
  rotatedAtMs: number;
  retryAtMs: number;
  heldUpBy: string | undefined;
  isWarned: boolean;
}

export class KeyRotation {
  readonly #parts: KeyRotationParts;
  readonly #policy: RotationPolicy;
  readonly #watched = new Map<KeyPurpose, Watched>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(parts: KeyRotationParts) {
    this.#parts = parts;
    this.#policy = parts.policy ?? ROTATION_DEFAULT;
  }

  start(): void {
    if (this.#isStopped) return;
    this.#timer = setInterval(() => void this.consider(), PERIOD_MS);
    this.#timer.unref();
  }

  /** Begins nothing any more, and waits for what runs. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  /** Looks once, and rotates what is due; never rejects. */
  consider(): Promise<void> {
    this.#running ??= this.#considerAll().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** What will rotate the active key of a purpose next; undefined where nothing is foreseen. */
  next(purpose: KeyPurpose): NextRotation | undefined {
    const use = this.#useOf(this.#parts.keys.state.activeDekId[purpose]);
    if (use === undefined) return undefined;
    const cause = this.#causeOf(use);
    if (cause !== undefined) {
      return { cause, atMs: undefined, heldUpBy: this.#watched.get(purpose)?.heldUpBy };
    }
    const atMs = agedAtMs(use, this.#policy);
    return atMs === undefined ? undefined : { cause: 'age', atMs, heldUpBy: undefined };
  }

  async #considerAll(): Promise<void> {
    for (const purpose of purposes) {
      const watched = this.#watch(purpose);
      const isHeld = watched.heldUpBy !== undefined;
      if (isHeld && !this.#isDue(purpose, watched.dekId)) watched.heldUpBy = undefined;
      if (this.#isStopped || watched.dekId === 0 || this.#now() < watched.retryAtMs) continue;
      if (this.#isDue(purpose, watched.dekId)) await this.#rotate(purpose, watched);
    }
  }

  /** Notices rotations, whoever asked for them. */
  #watch(purpose: KeyPurpose): Watched {
    const dekId = this.#parts.keys.state.activeDekId[purpose];
    const known = this.#watched.get(purpose);
    const watched = known ?? {
      dekId,
      rotatedAtMs: Number.NEGATIVE_INFINITY,
      retryAtMs: Number.NEGATIVE_INFINITY,
      heldUpBy: undefined,
      isWarned: false,
    };
    // The first key of a purpose follows none.
    if (watched.dekId !== dekId && watched.dekId !== 0) watched.rotatedAtMs = this.#now();
    if (watched.dekId !== dekId) watched.isWarned = false;
    watched.dekId = dekId;
    this.#watched.set(purpose, watched);
    this.#warn(purpose, watched);
    return watched;
  }

  #warn(purpose: KeyPurpose, watched: Watched): void {
    const seals = this.#parts.keys.ledger.sealsOfCluster(watched.dekId);
    if (watched.isWarned || seals < SEALS_WARNED) return;
    watched.isWarned = true;
    const key = { dekId: watched.dekId, purpose, seals: `${seals}` };
    this.#parts.log.warn(key, 'half of the seals that a data key is good for are used up');
  }

  async #rotate(purpose: KeyPurpose, watched: Watched): Promise<void> {
    const { log, operations } = this.#parts;
    const { dekId: before } = watched;
    const use = this.#useOf(before);
    const cause = use && this.#causeOf(use);
    try {
      const dekId = await operations.rotateIf(purpose, {
        sinceMs: this.#wallClock(),
        isStill: () => this.#isDue(purpose, before),
      });
      watched.heldUpBy = undefined;
      if (dekId !== undefined)
        log.info({ purpose, dekId, before, cause }, 'a data key was rotated');
    } catch (error) {
      const code = codeOf(error) ?? 'RAFTSEAL_NODE_INTERNAL';
      if (watched.heldUpBy !== code) {
        log.warn(
          { purpose, before, cause, code },
          'a data key is due to be rotated, and cannot be',
        );
      }
      watched.heldUpBy = code;
      watched.retryAtMs = this.#now() + RETRY_MS;
    }
  }

  /** Whether this node has to rotate the key now, if it still is the active one. */
  #isDue(purpose: KeyPurpose, dekId: number): boolean {
    const { leads, keys } = this.#parts;
    const use = this.#useOf(dekId);
    if (this.#isStopped || use === undefined || !leads()) return false;
    if (keys.state.activeDekId[purpose] !== dekId || this.#causeOf(use) === undefined) return false;
    const rotatedAtMs = this.#watched.get(purpose)?.rotatedAtMs ?? Number.NEGATIVE_INFINITY;
    return this.#now() - rotatedAtMs >= PAUSE_MS || keys.ledger.seals(dekId) >= SEALS_ROTATED;
  }

  #causeOf(use: KeyUse): RotationCause | undefined {
    return rotationCause(use, this.#policy, this.#wallClock());
  }

  #useOf(dekId: number): KeyUse | undefined {
    const { registry, ledger, state } = this.#parts.keys;
    const { keys, writers } = state;
    const key = keys.get(dekId);
    if (key === undefined) return undefined;
    let { nonceEpoch } = key;
    for (const writerId of writers.keys()) {
      nonceEpoch = Math.max(nonceEpoch, registry.row(dekId, writerId)?.lastEpoch ?? 0);
    }
    return { createdAtMs: key.createdAtMs, seals: ledger.sealsOfCluster(dekId), nonceEpoch };
  }

  #wallClock(): number {
    return this.#parts.clock?.() ?? Date.now();
  }

  #now(): number {
    return this.#parts.monotonicClock?.() ?? performance.now();
  }
}
