/**
 * The ratchet to sealed-only, and the certificate of what is sealed: both rest on every member having
 * read everything it has. Asked of the leader of the control shard.
 */
import { RaftsealError } from '@raftseal/interface';
import { signStatement } from '../certificate/sealing-certificate.ts';
import { statementOf } from '../certificate/statement.ts';
import type { NodeFoundations } from '../foundations.ts';
import type { KeyOperations } from '../key-operations.ts';
import { verifyNode } from '../verify/verify.ts';
import { version } from '../version.ts';
import type { Attestation } from './attestation.ts';
import { type CleartextLeft, cleartextLeft } from './cleartext-left.ts';
import { CleartextPurge } from './cleartext-purge.ts';
import { type AskedMember, checkNothingLeft, type SealedMember, sealedMembers } from './members.ts';

export interface SealedOnlyParts {
  readonly foundations: NodeFoundations;
  readonly operations: Pick<KeyOperations, 'enableSealedOnly'>;
  /** Undefined: this node is alone. */
  readonly cluster:
    | {
        membersAsked(
          self: Pick<AskedMember, 'attest' | 'cleartextLeft'>,
        ): Promise<readonly AskedMember[]>;
      }
    | undefined;
}

export class SealedOnlyOperations {
  readonly #parts: SealedOnlyParts;
  readonly #purge: CleartextPurge;

  constructor(parts: SealedOnlyParts) {
    this.#parts = parts;
    this.#purge = new CleartextPurge(parts.foundations);
  }

  /** What this node still has in the clear. */
  cleartextLeft(): Promise<CleartextLeft> {
    return cleartextLeft(this.#parts.foundations);
  }

  /** Gives up what this node holds in the clear, and reads everything it has. */
  async attest(): Promise<Attestation> {
    const { foundations } = this.#parts;
    const { keys } = foundations;
    const { left } = await this.#purge.run();
    const report = await verifyNode(foundations);
    const { clusterId, sealedOnlyIndex } = keys.state;
    return {
      nodeId: keys.nodeId,
      clusterId: clusterId ? Buffer.from(clusterId).toString('hex') : null,
      release: version,
      sealedOnlyIndex: sealedOnlyIndex?.toString() ?? null,
      left,
      report,
    };
  }

  /**
   * Has every replica refuse what is in the clear from now on, once every member has shown that
   * it has nothing. Reading it all may take long and keeps nobody waiting; under the lock that
   * admits members only bounds and counts are asked again, and none of them can go back. One-way;
   * idempotent.
   * @throws RAFTSEAL_NODE_CLEARTEXT_LEFT
   */
  async enable(): Promise<void> {
    if (this.#parts.foundations.keys.state.sealedOnlyIndex !== undefined) return;
    const sealed = await sealedMembers(await this.#members());
    await this.#parts.operations.enableSealedOnly(async () => {
      const members = await this.#members();
      checkSameMembers(sealed, members);
      await checkNothingLeft(members);
    });
  }

  /**
   * The text of a sealing certificate.
   * @throws RAFTSEAL_NODE_CLEARTEXT_LEFT, RAFTSEAL_NODE_NOT_BOOTSTRAPPED
   */
  async certificate(): Promise<string> {
    const { keys } = this.#parts.foundations;
    const seed = keys.certificateSeed();
    try {
      const members = await sealedMembers(await this.#members());
      checkSameMembers(members, await this.#members());
      const { state } = keys;
      for (const { attestation } of members) checkSameState(attestation, state.sealedOnlyIndex);
      const issuedAtMs = Date.now();
      return signStatement(statementOf({ state, issuedAtMs, release: version, members }), seed);
    } finally {
      seed.fill(0);
    }
  }

  async #members(): Promise<readonly AskedMember[]> {
    const { foundations, cluster } = this.#parts;
    const self = { attest: () => this.attest(), cleartextLeft: () => this.cleartextLeft() };
    if (cluster) return cluster.membersAsked(self);
    const { nodeId } = foundations.keys;
    return [{ ...self, nodeId, role: 'voter', isInReach: true }];
  }
}

function checkSameMembers(sealed: readonly SealedMember[], now: readonly AskedMember[]): void {
  const asked = sealed.map(({ member }) => member.nodeId).toSorted();
  const found = now.map(({ nodeId }) => nodeId).toSorted();
  if (asked.join() === found.join()) return;
  throw new RaftsealError(
    'RAFTSEAL_NODE_CLEARTEXT_LEFT',
    `expected the members that were asked, ${asked.join(', ')}; found ${found.join(', ')}: members ` +
      'were admitted or removed meanwhile; ask again',
  );
}

function checkSameState(
  { nodeId, sealedOnlyIndex }: Attestation,
  expected: bigint | undefined,
): void {
  if (sealedOnlyIndex === (expected?.toString() ?? null)) return;
  throw new RaftsealError(
    'RAFTSEAL_NODE_CLEARTEXT_LEFT',
    `expected ${nodeId} to be sealed-only from ${expected ?? 'nowhere'}, as this node is; found ` +
      `${sealedOnlyIndex ?? 'nowhere'}: it has not come as far; ask again`,
  );
}
