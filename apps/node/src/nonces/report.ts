/** What a nonce audit says. */
import type { KeyPurpose } from '@raftseal/interface';

/** What can be wrong. */
export type NonceFindingCode =
  /** Two different envelopes have one nonce under one DEK. */
  | 'nonce-reused'
  /** A DEK that the key state does not know. */
  | 'dek-unknown'
  /** A DEK of another purpose than the place where its envelope was found has. */
  | 'wrong-purpose'
  /** A writer id that was given to nobody. */
  | 'writer-unknown'
  /** Two members say that one writer id is of two nodes. */
  | 'writer-conflict'
  /** In a log of which only one node writes: a writer id of another. */
  | 'writer-foreign'
  /** A writer that never registered under the DEK. */
  | 'writer-unregistered'
  /** An epoch below the first, or above the last, that the writer registered. */
  | 'epoch-unregistered'
  /** The sidecar of the writer's node does not know an epoch that it has used. */
  | 'epoch-behind'
  /** A counter that no sequence counts up to, or a random one that is not a registration's. */
  | 'counter-impossible'
  /** A counter that the process which has the epoch has not drawn yet: another one has it too. */
  | 'counter-ahead'
  /** What stands in the place of an envelope is none. */
  | 'unreadable'
  /** A member of the cluster whose store could not be read. */
  | 'member-missing';

export interface NonceFinding {
  readonly code: NonceFindingCode;
  readonly text: string;
}

/** What was sealed under one DEK by one writer in one epoch. */
export interface NonceRangeReport {
  readonly dekId: number;
  readonly purpose: KeyPurpose | null;
  readonly writerId: number;
  /** Whose id that is. */
  readonly nodeId: string | null;
  readonly nonceEpoch: number;
  /** Different envelopes whose counter was counted, and between which counters. */
  readonly envelopes: number;
  readonly lowest: number | null;
  readonly highest: number | null;
  /** Different envelopes whose counter is random: registrations of the epoch. */
  readonly registrations: number;
}

export interface AuditedMember {
  readonly nodeId: string;
  /** The data directory, where it was read without a node. */
  readonly directory: string | null;
  /** What was read of it. */
  readonly read: 'log and stores' | 'stores' | 'nothing';
  /** Whether its key state was checked by its MAC. */
  readonly isAuthenticated: boolean;
}

export interface NonceReport {
  /** No finding. */
  readonly clean: boolean;
  readonly members: readonly AuditedMember[];
  /** Envelopes that were read; the same one in two places counts twice. */
  readonly envelopes: number;
  readonly copies: number;
  /** How often everything was read: so many as keep the memory within its bounds. */
  readonly passes: number;
  readonly ranges: readonly NonceRangeReport[];
  /** The first of them; the same one in several places counts once. */
  readonly findings: readonly NonceFinding[];
  readonly findingCount: number;
}
