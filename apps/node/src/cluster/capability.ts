/**
 * Whether a node can do its part in a sealed cluster: its release knows the format, and its KEK is
 * one of those that this node has. It is given a key made for the occasion, wrapped, and shows that it
 * has unwrapped it; saying so would not be enough.
 */
import { createHmac, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import {
  CLUSTER_ID_BYTES,
  codeOf,
  DEK_BYTES,
  RaftsealError,
  type WrapBinding,
} from '@raftseal/interface';
import { FORMAT_VERSION } from '../data-directory.ts';
import type { KekSet } from '../kek-set.ts';
import type { CapabilityChallenge, CapabilityProof } from '../peer/operations.ts';
import { version } from '../version.ts';

const LABEL = 'raftseal capability 1';
const NONCE_BYTES = 32;
/** No cluster has this id: a proof is not of a key that is in use. */
const clusterId = new Uint8Array(CLUSTER_ID_BYTES);

/** @throws RAFTSEAL_NODE_KEK_REQUIRED, RAFTSEAL_KEK_* */
export async function proveCapability(
  { nodeId, keks }: { readonly nodeId: string; readonly keks: KekSet },
  { binding, wraps, nonce }: CapabilityChallenge,
): Promise<CapabilityProof> {
  if (keks.isEmpty) throw kekMissing(nodeId);
  if (!clusterId.every((byte, at) => byte === binding.clusterId[at])) throw badChallenge();
  const { purpose } = binding;
  const key = await keks.unwrap({ purpose, wraps, createdAtMs: 0 }, binding);
  try {
    const mac = macOf(key, nonce, nodeId);
    return { nodeId, formatVersion: FORMAT_VERSION, release: version, mac };
  } finally {
    key.fill(0);
  }
}

/**
 * Puts the question to a node.
 * @throws RAFTSEAL_NODE_MEMBER_INCAPABLE, which names the node and says why
 */
export async function checkCapability(
  nodeId: string,
  keks: KekSet,
  ask: (challenge: CapabilityChallenge) => Promise<CapabilityProof>,
): Promise<void> {
  const binding: WrapBinding = { clusterId, dekId: randomInt(1, 2 ** 32 - 1), purpose: 'raft' };
  const key = randomBytes(DEK_BYTES);
  try {
    const wraps = await keks.wrap(key, binding);
    const nonce = randomBytes(NONCE_BYTES);
    const proof = await ask({ binding, wraps, nonce }).catch((cause: unknown) => {
      throw incapable(nodeId, reasonOf(cause), cause);
    });
    if (proof.nodeId !== nodeId) throw incapable(nodeId, `${proof.nodeId} answers at its address`);
    if (proof.formatVersion !== FORMAT_VERSION) {
      throw incapable(nodeId, `it is of format ${proof.formatVersion}, not ${FORMAT_VERSION}`);
    }
    const expected = macOf(key, nonce, nodeId);
    const isSame = proof.mac.length === expected.length && timingSafeEqual(proof.mac, expected);
    if (!isSame) throw incapable(nodeId, 'it did not unwrap the key it was given');
  } finally {
    key.fill(0);
  }
}

/** Puts the question to all of them. @throws as {@link checkCapability}; nothing without a KEK */
export async function checkCapabilities(
  nodeIds: readonly string[],
  keks: KekSet,
  ask: (nodeId: string, challenge: CapabilityChallenge) => Promise<CapabilityProof>,
): Promise<void> {
  if (keks.isEmpty) return;
  await Promise.all(
    nodeIds.map((nodeId) =>
      checkCapability(nodeId, keks, async (challenge) => ask(nodeId, challenge)),
    ),
  );
}

function macOf(key: Uint8Array, nonce: Uint8Array, nodeId: string): Buffer {
  return createHmac('sha256', key).update(LABEL).update(nonce).update(nodeId).digest();
}

function reasonOf(cause: unknown): string {
  const code = codeOf(cause);
  if (code === undefined) return 'it failed unexpectedly';
  return cause instanceof Error ? `${code}: ${cause.message}` : code;
}

function incapable(nodeId: string, reason: string, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_MEMBER_INCAPABLE',
    `expected ${nodeId} to show that it can seal and open with this cluster's KEK; ${reason}. ` +
      'Start it with the same --kek and a release that knows the format, or remove it',
    { cause },
  );
}

function kekMissing(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_KEK_REQUIRED',
    `${nodeId} was started without a KEK: restart it with the --kek of the other nodes`,
  );
}

function badChallenge(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_BAD_REQUEST',
    'expected a challenge with a key made for it, found one of a cluster',
  );
}
