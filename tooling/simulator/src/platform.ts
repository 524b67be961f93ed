/**
 * The platform as a run sees it: its timers and clocks are those of the run, what it draws at random
 * follows from the seed, and every seal that is made with it is written down. One run at a time per
 * process; `restore` puts everything back.
 */
import crypto, { type CipherGCM, type CipherGCMOptions, KeyObject } from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import type { Random } from '@raftseal/rigs/random';
import type { SealRecorder } from './seal-recorder.ts';
import type { TimerName, VirtualClock } from './virtual-clock.ts';

export interface PlatformParts {
  readonly clock: VirtualClock;
  /** Milliseconds since the Unix epoch; may jump. */
  readonly wallClock: () => number;
  readonly random: Random;
  readonly seals: SealRecorder;
}

const timerNames: readonly TimerName[] = [
  'setTimeout',
  'clearTimeout',
  'setInterval',
  'clearInterval',
  'setImmediate',
  'clearImmediate',
];

/** @returns what puts everything back */
export function takeOver({ clock, wallClock, random, seals }: PlatformParts): () => void {
  const before = {
    timers: timerNames.map((name) => [name, globalThis[name]] as const),
    dateNow: Date.now,
    random: Math.random,
    randomBytes: crypto.randomBytes,
    randomInt: crypto.randomInt,
    randomUUID: crypto.randomUUID,
    createCipheriv: crypto.createCipheriv,
  };
  Object.assign(globalThis, clock.timers());
  Date.now = wallClock;
  performance.now = () => clock.nowMs;
  Math.random = () => random.fraction();
  const randomBytes = (length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at++) bytes[at] = random.below(256);
    return bytes;
  };
  Object.assign(crypto, {
    randomBytes,
    randomInt: (min: number, max?: number) =>
      max === undefined ? random.below(min) : min + random.below(max - min),
    randomUUID: () => {
      const hex = randomBytes(16).toString('hex');
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
    },
    createCipheriv: (
      name: string,
      key: KeyObject | Buffer,
      nonce: Buffer,
      options: CipherGCMOptions,
    ): CipherGCM => {
      const bytes = key instanceof KeyObject ? key.export() : key;
      seals.note(bytes, nonce);
      return before.createCipheriv(name as 'aes-256-gcm', key, nonce, options);
    },
  });
  syncBuiltinESMExports();
  return () => {
    Object.assign(globalThis, Object.fromEntries(before.timers));
    Date.now = before.dateNow;
    Reflect.deleteProperty(performance, 'now');
    Math.random = before.random;
    const { randomBytes: bytes, randomInt, randomUUID, createCipheriv } = before;
    Object.assign(crypto, { randomBytes: bytes, randomInt, randomUUID, createCipheriv });
    syncBuiltinESMExports();
  };
}
