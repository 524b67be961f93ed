/**
 * What nodes of one cluster ask of each other over a port of their own: the server that answers, the
 * client that asks, and the operations that the node implements.
 */
export { closePeerAccess, openPeerAccess, type PeerAccess, peerUrl } from './access.ts';
export { PeerClient, type PeerClientTimeouts } from './client.ts';
export { NotControlLeaderError } from './not-control-leader.ts';
export type {
  CapabilityChallenge,
  CapabilityProof,
  JoinReply,
  JoinRequest,
  PeerIdentity,
  PeerOperations,
  PeerSnapshot,
  RegistrationRequest,
} from './operations.ts';
export { type PeerServer, type PeerServerParts, peerServer } from './server.ts';
export type { ReceivedSnapshot } from './snapshot-stream.ts';
