/** When a DEK has to be followed by a new one. Pure: who asks brings clock and counts. */
import { SEALS_MAX } from '@raftseal/envelope';

export interface RotationPolicy {
  /** Days after which a key is followed by a new one; 0 for never. */
  readonly afterDays: number;
  /** Seals of the cluster after which it is, if that is below what a DEK is good for. */
  readonly afterSeals?: bigint;
  /**
   * Milliseconds since the Unix epoch: every key that was made before is followed by a new one. What
   * it asks for is so from then on, whoever asks how often.
   */
  readonly madeBeforeMs?: number;
}

export const ROTATION_DEFAULT: RotationPolicy = { afterDays: 90 };

/** Seals of the cluster under one DEK from which on it is said to be used up soon. */
export const SEALS_WARNED: bigint = SEALS_MAX / 2n;
/** The same for a rotation that nobody has to ask for. */
export const SEALS_ROTATED: bigint = (SEALS_MAX * 9n) / 10n;
/** Each process of a node uses up one epoch per DEK; at 0xffff no further process can seal. */
export const NONCE_EPOCH_ROTATED = 0xff00;

const DAY_MS = 86_400_000;
/** A key from further ahead was made by a clock that was wrong: its age cannot be told. */
const AHEAD_MAX_MS = DAY_MS;

export type RotationCause = 'seals' | 'nonce-epochs' | 'made-before' | 'age';

/** How a DEK has been used. */
export interface KeyUse {
  /** Milliseconds since the Unix epoch. */
  readonly createdAtMs: number;
  /** Of the cluster. */
  readonly seals: bigint;
  /** The highest of any node. */
  readonly nonceEpoch: number;
}

/** Why a key has to be followed by a new one now; undefined where it has not. */
export function rotationCause(
  use: KeyUse,
  policy: RotationPolicy,
  nowMs: number,
): RotationCause | undefined {
  const { createdAtMs, seals, nonceEpoch } = use;
  const { afterDays, afterSeals = SEALS_ROTATED, madeBeforeMs } = policy;
  if (seals >= SEALS_ROTATED || seals >= afterSeals) return 'seals';
  if (nonceEpoch >= NONCE_EPOCH_ROTATED) return 'nonce-epochs';
  // Not before that time has come: a key made now would be one of those once more.
  if (madeBeforeMs !== undefined && createdAtMs < madeBeforeMs && madeBeforeMs <= nowMs) {
    return 'made-before';
  }
  if (afterDays === 0) return undefined;
  const ageMs = nowMs - createdAtMs;
  return ageMs >= afterDays * DAY_MS || ageMs < -AHEAD_MAX_MS ? 'age' : undefined;
}

/** When a key is followed by a new one for its age alone; undefined for never. */
export function agedAtMs(
  { createdAtMs }: KeyUse,
  { afterDays }: RotationPolicy,
): number | undefined {
  return afterDays === 0 ? undefined : createdAtMs + afterDays * DAY_MS;
}

/** The part of the seals that a DEK is good for, from 1 for a new one to 0. */
export function budgetLeft(seals: bigint): number {
  return Math.max(0, Number(SEALS_MAX - seals) / Number(SEALS_MAX));
}
