/** The admin API of the other members, as this node asks it. */
import { RaftsealError } from '@raftseal/interface';
import type { AdminCall } from '../admin/call.ts';
import { type PeerAccess, peerUrl } from '../peer/access.ts';
import type { PeerClient } from '../peer/client.ts';
import { remoteError } from '../peer/failures.ts';
import type { OtherMembers } from '../retirement/retirement.ts';
import type { AskedMember } from '../sealed-only/members.ts';
import type { ClusterView } from './cluster-view.ts';

export interface MemberCallsParts {
  readonly nodeId: string;
  readonly view: ClusterView;
  /** Of all members, by the record itself: the view may be behind. */
  readonly ids: () => Promise<readonly string[]>;
  readonly access: { readonly peers: PeerAccess; readonly client: PeerClient };
}

/** A member may have much to read; one that is gone is noticed by its presence. */
const ATTEST_MS_MAX = 60 * 60_000;
const PRESENCE_POLL_MS = 1_000;
/** A node that is slow for a moment may lose its presence, and have it again. */
const ABSENT_POLLS_MAX = 10;

/** What this node is asked without a call. */
export type AskedSelf = Pick<AskedMember, 'attest' | 'cleartextLeft'>;

/** Every member, this one too, as the cluster's record has them now. */
export async function membersAsked(
  parts: MemberCallsParts,
  self: AskedSelf,
): Promise<readonly AskedMember[]> {
  const { nodeId: own, view } = parts;
  return (await parts.ids()).map((nodeId) => {
    const asked = nodeId === own ? self : callsOf(parts, nodeId);
    const isInReach = nodeId === own || view.peerAddressOf(nodeId) !== undefined;
    return { ...asked, nodeId, role: view.members.get(nodeId) ?? 'learner', isInReach };
  });
}

function callsOf(parts: MemberCallsParts, nodeId: string): AskedSelf {
  const call = (asked: AdminCall): Promise<unknown> => callMember(parts, nodeId, asked);
  const timeoutMs = ATTEST_MS_MAX;
  return {
    attest: () => call({ method: 'POST', path: '/v1/encryption/attest', body: '{}', timeoutMs }),
    cleartextLeft: () => call({ method: 'GET', path: '/v1/encryption/cleartext', body: '' }),
  };
}

/** @throws RAFTSEAL_NODE_PEER_UNAVAILABLE, where the member is gone for long; what it refuses with */
async function callMember(
  { view, access }: MemberCallsParts,
  nodeId: string,
  call: AdminCall,
): Promise<unknown> {
  const address = view.peerAddressOf(nodeId);
  if (address === undefined) throw outOfReach(nodeId);
  const url = peerUrl(access.peers, address);
  const gone = new AbortController();
  let absentPolls = 0;
  const poll = setInterval(() => {
    absentPolls = view.peerAddressOf(nodeId) === undefined ? absentPolls + 1 : 0;
    if (absentPolls >= ABSENT_POLLS_MAX) gone.abort(outOfReach(nodeId));
  }, PRESENCE_POLL_MS);
  try {
    const response = await access.client.forward(url, call, gone.signal);
    const reply: unknown = await response.json().catch(() => undefined);
    if (response.ok) return reply;
    throw remoteError(url, response.status, reply);
  } finally {
    clearInterval(poll);
  }
}

function outOfReach(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_PEER_UNAVAILABLE',
    `${nodeId} is not in reach: start it, or remove it from the cluster`,
  );
}

export interface OtherMembersParts extends Pick<MemberCallsParts, 'nodeId' | 'ids'> {
  readonly client: PeerClient;
  /** @throws RAFTSEAL_NODE_UNKNOWN_MEMBER for a member that is not in reach */
  readonly urlOf: (nodeId: string) => string;
}

/** Who is asked, besides this node, whether a DEK is needed. */
export function otherMembers({ nodeId: own, ids, client, urlOf }: OtherMembersParts): OtherMembers {
  return {
    ids: async () => (await ids()).filter((nodeId) => nodeId !== own),
    keyNeeds: async (nodeId, dekId) => client.keyNeeds(urlOf(nodeId), dekId),
    turnOverLogs: async (nodeId) => client.turnOverLogs(urlOf(nodeId)),
  };
}
