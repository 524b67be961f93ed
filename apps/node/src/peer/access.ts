/** How this node shows the others that it is one of them, and how it knows them. */
import { RaftsealError } from '@raftseal/interface';
import { tokenProblem } from '../admin/token.ts';
import { type Address, isLoopback, type PeerSecurity } from '../config.ts';
import { readSecretFile, secretError } from '../secret-file.ts';
import { TlsFiles, type TlsFilesParts } from '../tls-files.ts';

/** The secrets of a {@link PeerSecurity}, read; one for the server and the client of a node. */
export type PeerAccess =
  | { readonly kind: 'mtls'; readonly files: TlsFiles }
  | { readonly kind: 'token'; readonly token: string };

/** @throws RAFTSEAL_NODE_CERTIFICATE, RAFTSEAL_NODE_SECRET_FILE */
export async function openPeerAccess(
  security: PeerSecurity,
  parts: TlsFilesParts = {},
): Promise<PeerAccess> {
  if (security.kind === 'mtls') {
    return { kind: 'mtls', files: await TlsFiles.open(security, parts) };
  }
  const token = (await readSecretFile('the peer token', security.tokenPath)).toString().trim();
  const problem = tokenProblem(token);
  if (problem !== undefined) throw secretError('the peer token', security.tokenPath, problem);
  return { kind: 'token', token };
}

/** Idempotent. */
export function closePeerAccess(access: PeerAccess): void {
  if (access.kind === 'mtls') access.files.close();
}

/** Base URL of the node that is reached at an address, for {@link PeerClient}. */
export function peerUrl({ kind }: { readonly kind: PeerAccess['kind'] }, address: Address): string {
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${kind === 'mtls' ? 'https' : 'http'}://${host}:${address.port}`;
}

/**
 * Addresses come from other nodes: a token must not follow one to another machine, and no call goes
 * where the other side is not verified.
 * @throws RAFTSEAL_NODE_PEER_REFUSED
 */
export function checkPeerUrl({ kind }: PeerAccess, url: URL): void {
  if (kind === 'mtls' && url.protocol === 'https:') return;
  const isHere = isLoopback(url.hostname.replace(/^\[|\]$/g, ''));
  if (kind === 'token' && url.protocol === 'http:' && isHere) return;
  const expected = kind === 'mtls' ? 'https' : 'http on loopback';
  throw new RaftsealError(
    'RAFTSEAL_NODE_PEER_REFUSED',
    `expected a peer at an address of ${expected}, found ${url.origin}: all nodes of a cluster use ` +
      'certificates, or all run on one machine and share a token',
  );
}
