/** What a failed call to another node is told as. */
import { codeOf, type ErrorCode, errorCodes, RaftsealError } from '@raftseal/interface';
import { NotControlLeaderError } from './not-control-leader.ts';

const MESSAGE_CHARACTERS_MAX = 1000;

/** Codes of node:tls and OpenSSL for a certificate, or a name in it, that is not accepted. */
const VERIFICATION =
  /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|CRL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_|PATH_LENGTH)/;

/**
 * The error of a call that has no whole reply.
 * @param origin of the node that was called
 */
export function failureOf(origin: string, cause: unknown): RaftsealError {
  if (cause instanceof RaftsealError) return cause;
  const code = codeOf(cause);
  if (code !== undefined && VERIFICATION.test(code)) {
    return new RaftsealError(
      'RAFTSEAL_NODE_PEER_REFUSED',
      `the node at ${origin} shows no certificate that is accepted for that name (${code}): it ` +
        'must be signed by the CA of the cluster, be in its time, and name the advertised host',
      { cause },
    );
  }
  if (code?.startsWith('HPE_')) return malformed(origin, `no HTTP (${code})`);
  const reason = code ?? (cause instanceof Error ? cause.message : 'unexpected error');
  const hint = origin.startsWith('https:') && code === 'ECONNRESET' ? CERTIFICATE_HINT : '';
  return new RaftsealError(
    'RAFTSEAL_NODE_PEER_UNAVAILABLE',
    `the node at ${origin} cannot be reached or did not answer (${reason})${hint}`,
    { cause },
  );
}

const CERTIFICATE_HINT = ': it may be stopping, or does not accept the certificate of this node';

export function malformed(origin: string, found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_PEER_REPLY',
    `the node at ${origin} did not answer as expected: ${found}; does it run a release of raftseal ` +
      'that goes with this one?',
  );
}

/** The error that the other node has answered with. */
export function remoteError(origin: string, status: number, reply: unknown): RaftsealError {
  const { code, message, leader } = isRecord(reply) ? reply : {};
  if (typeof code !== 'string' || typeof message !== 'string' || !isKnown(code)) {
    return malformed(origin, `HTTP status ${status} without an error that is known here`);
  }
  if (code === 'RAFTSEAL_NODE_NOT_CONTROL_LEADER') return new NotControlLeaderError(urlOf(leader));
  const text = message.slice(0, MESSAGE_CHARACTERS_MAX);
  return new RaftsealError(code, `the node at ${origin} answers: ${text}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isKnown(code: string): code is ErrorCode {
  return Object.hasOwn(errorCodes, code);
}

function urlOf(text: unknown): string | undefined {
  if (typeof text !== 'string' || !URL.canParse(text)) return undefined;
  const { protocol, origin } = new URL(text);
  return protocol === 'http:' || protocol === 'https:' ? origin : undefined;
}
