/** How a DEK is unwrapped: by whichever configured KEK made one of its wraps. */
import { type KekProvider, RaftsealError, type WrapBinding } from '@raftseal/interface';
import type { ReplicatedKeyRecord } from './replicated-key-state.ts';

/**
 * Unwraps a key that the state holds.
 * @returns 32 bytes that the caller owns and wipes.
 */
export type UnwrapDek = (key: ReplicatedKeyRecord, binding: WrapBinding) => Promise<Uint8Array>;

/**
 * Tries the wraps of a key in order, each with the provider of the same `kekUri`; a KEK that cannot
 * be reached leaves it to the next one.
 *
 * The returned function throws RAFTSEAL_APPLIER_KEK_UNMATCHED where no provider made any wrap, and
 * otherwise what the last provider threw.
 */
export function unwrapWith(providers: readonly KekProvider[]): UnwrapDek {
  return async (key, binding) => {
    let failure: unknown;
    for (const { kekUri, bytes } of key.wraps) {
      const provider = providers.find((candidate) => candidate.kekUri === kekUri);
      if (provider === undefined) continue;
      try {
        return await provider.unwrapKey(bytes, binding);
      } catch (error) {
        failure = error;
      }
    }
    throw failure ?? unmatched(key, binding);
  };
}

function unmatched(key: ReplicatedKeyRecord, { dekId, purpose }: WrapBinding): RaftsealError {
  const made = key.wraps.map(({ kekUri }) => kekUri).join(', ');
  return new RaftsealError(
    'RAFTSEAL_APPLIER_KEK_UNMATCHED',
    `expected a KEK that wraps ${purpose} DEK ${dekId}: one of ${made}; none of them is ` +
      'configured. Give the node that KEK.',
  );
}
