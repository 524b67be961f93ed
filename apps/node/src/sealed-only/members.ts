/** What every member of the cluster says about what it has, as the control shard's leader asks. */
import { codeOf, RaftsealError } from '@raftseal/interface';
import { type Attestation, blockersOf, isAttestation, isCleartextLeft } from './attestation.ts';

/** A member, whichever node it is; of a node that is alone, that node. */
export interface AskedMember {
  readonly nodeId: string;
  readonly role: 'voter' | 'learner';
  /** Nobody needs to read anything while somebody else cannot be asked. */
  readonly isInReach: boolean;
  /** Has it give up what it holds in the clear, and read everything it has. */
  attest(): Promise<unknown>;
  /** Asks it what it still has in the clear; at once. */
  cleartextLeft(): Promise<unknown>;
}

/** A member with what it has found: nothing in the clear, and nothing wrong. */
export interface SealedMember {
  readonly member: AskedMember;
  readonly attestation: Attestation;
}

const BLOCKERS_SHOWN_MAX = 20;

/**
 * Asks all of them at the same time: what one has to give up may wait for another.
 * @throws RAFTSEAL_NODE_CLEARTEXT_LEFT, which names what is left, or wrong, on each member
 */
export async function sealedMembers(
  members: readonly AskedMember[],
): Promise<readonly SealedMember[]> {
  const gone = members.filter(({ isInReach }) => !isInReach);
  refuseIf(gone.map(({ nodeId }) => `${nodeId}: not in reach`));
  const blockers: string[] = [];
  const sealed: SealedMember[] = [];
  const ask = async (member: AskedMember): Promise<void> => {
    const attestation = await member.attest();
    if (!isAttestation(attestation)) throw unexpectedReply();
    checkIdentity(member, attestation);
    sealed.push({ member, attestation });
    blockers.push(...blockersOf(attestation).map((line) => `${member.nodeId}: ${line}`));
  };
  await Promise.all(members.map((member) => answered(member, ask, blockers)));
  refuseIf(blockers);
  return sealed.toSorted((a, b) => (a.member.nodeId < b.member.nodeId ? -1 : 1));
}

/**
 * Asks all of them once more what is left.
 * @throws RAFTSEAL_NODE_CLEARTEXT_LEFT
 */
export async function checkNothingLeft(members: readonly AskedMember[]): Promise<void> {
  const blockers: string[] = [];
  const ask = async (member: AskedMember): Promise<void> => {
    const found = await member.cleartextLeft();
    if (!isCleartextLeft(found)) throw unexpectedReply();
    checkIdentity(member, found);
    blockers.push(...found.left.map((line) => `${member.nodeId}: ${line}`));
  };
  await Promise.all(members.map((member) => answered(member, ask, blockers)));
  refuseIf(blockers);
}

/** Who does not answer may have anything. */
async function answered(
  member: AskedMember,
  ask: (member: AskedMember) => Promise<void>,
  blockers: string[],
): Promise<void> {
  try {
    await ask(member);
  } catch (error) {
    const reason = error instanceof RaftsealError ? error.message : 'unexpected error';
    blockers.push(`${member.nodeId}: not known (${codeOf(error) ?? reason}: ${reason})`);
  }
}

function checkIdentity({ nodeId }: AskedMember, found: { readonly nodeId: string }): void {
  if (found.nodeId === nodeId) return;
  throw new RaftsealError(
    'RAFTSEAL_NODE_PEER_REPLY',
    `expected ${nodeId} at its address; ${found.nodeId} answers there`,
  );
}

function unexpectedReply(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_PEER_REPLY',
    'expected a report of what the node has; found something else: does it run another release?',
  );
}

function refuseIf(blockers: readonly string[]): void {
  if (blockers.length === 0) return;
  const shown = blockers.toSorted().slice(0, BLOCKERS_SHOWN_MAX);
  const more = blockers.length - shown.length;
  throw new RaftsealError(
    'RAFTSEAL_NODE_CLEARTEXT_LEFT',
    'expected nothing in the clear, nothing wrong and every member in reach; found ' +
      `${blockers.length} obstacles: ${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}`,
  );
}
