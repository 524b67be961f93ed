/** A KekService over a KEK in memory, with what a test wants to happen before each attempt. */
import { randomBytes } from 'node:crypto';
import { codeOf } from '@raftseal/interface';
import { kekInMemory } from '@raftseal/kek-memory';
import { DoesNotOpen, type KekCall, type KekService, type WrapPlace } from '../src/index.ts';

const [kek, otherKek] = [randomBytes(32), randomBytes(32)];

export interface MemoryService extends KekService {
  /** How often a call was tried. */
  readonly attempts: number;
  readonly isClosed: boolean;
}

/** @param before runs in each attempt, which fails with what it throws. */
export function memoryService(
  before: (signal: AbortSignal) => Promise<void> | void = () => undefined,
  which: 'one' | 'other' = 'one',
): MemoryService {
  const inner = kekInMemory({ kek: which === 'one' ? kek : otherKek, kekUri: 'memory:kek' });
  const seen = { attempts: 0, isClosed: false };
  const attempt = <Result>(call: KekCall, work: () => Promise<Result>): Promise<Result> =>
    call.attempts(async (signal) => {
      seen.attempts += 1;
      await before(signal);
      return await work();
    });
  return {
    get attempts() {
      return seen.attempts;
    },
    get isClosed() {
      return seen.isClosed;
    },
    check: async () => undefined,
    wrap: (dek, { binding }, call) => attempt(call, () => inner.wrapKey(dek, binding)),
    unwrap: (wrapped, place, call) => attempt(call, () => opened(wrapped, place)),
    close: () => {
      seen.isClosed = true;
    },
  };

  async function opened(wrapped: Uint8Array, { binding }: WrapPlace): Promise<Uint8Array> {
    try {
      return await inner.unwrapKey(wrapped, binding);
    } catch (error) {
      throw new DoesNotOpen(`a refusal (${codeOf(error)})`);
    }
  }
}
