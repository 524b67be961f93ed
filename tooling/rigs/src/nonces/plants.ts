/**
 * Faults of wiring, to show that the audit finds what they lead to. The program has no switch for
 * them: what a node is given is changed after it was put together.
 */
import type { NodeKeys } from '@raftseal/server/nonces';

export const plantNames = ['no-epoch-bump', 'no-registration'] as const;

export type NoncePlant = (typeof plantNames)[number];

type Claims = NodeKeys['lifecycle'];

const plants: Readonly<Record<NoncePlant, (claims: Claims) => void>> = {
  /**
   * Every process of a node seals rows with the first epoch. Entries are left as they are: a keyring
   * that has seen the epoch of a registration refuses a lower one.
   */
  'no-epoch-bump': (claims) => {
    const claimOf = claims.claimOf.bind(claims);
    claims.claimOf = (dekId) => {
      const claim = claimOf(dekId);
      const isOfRows = claims.state.keys.get(dekId)?.purpose === 'storage';
      return claim && isOfRows && claims.isRegistered(dekId) ? { ...claim, nonceEpoch: 1 } : claim;
    };
  },
  /** A process seals as soon as it has claimed an epoch, whether the log knows of it or not. */
  'no-registration': (claims) => {
    claims.isRegistered = (dekId) => claims.claimOf(dekId) !== undefined;
  },
};

export function plantIn({ lifecycle }: NodeKeys, plant: NoncePlant | undefined): void {
  if (plant !== undefined) plants[plant](lifecycle);
}
