/**
 * What a call to etcd can end with. gRPC's codes are too coarse to tell these apart; etcd's own
 * clients go by the text as well (etcd `api/v3rpc/rpctypes/error.go`).
 */
import { type ServiceError, status } from '@grpc/grpc-js';

export type CallErrorKind =
  /** No answer, or none from a leader: it may have been done, and may still come to be. */
  | 'unavailable'
  /** The quota is used up. Of a transaction only said that it was dealt with, not how. */
  | 'noSpace'
  /** All others: not done, and it never will be. */
  | 'denied'
  | 'tokenExpired'
  | 'authOff'
  | 'tooLarge'
  | 'tooManyOperations'
  | 'compacted'
  | 'futureRevision'
  | 'leaseNotFound'
  | 'rejected'
  | 'closed';

export class CallError extends Error {
  readonly kind: CallErrorKind;

  constructor(kind: CallErrorKind, message: string) {
    super(message);
    this.name = 'CallError';
    this.kind = kind;
  }
}

const texts: readonly (readonly [string, CallErrorKind])[] = [
  ['database space exceeded', 'noSpace'],
  ['permission denied', 'denied'],
  ['user name is empty', 'denied'],
  ['authentication failed', 'denied'],
  ['authentication is not enabled', 'authOff'],
  ['invalid auth token', 'tokenExpired'],
  ['revision of auth store is old', 'tokenExpired'],
  ['request is too large', 'tooLarge'],
  ['message larger than max', 'tooLarge'],
  ['too many operations', 'tooManyOperations'],
  ['revision has been compacted', 'compacted'],
  ['future revision', 'futureRevision'],
  ['requested lease not found', 'leaseNotFound'],
];

const certainCodes: readonly number[] = [
  status.INVALID_ARGUMENT,
  status.FAILED_PRECONDITION,
  status.UNIMPLEMENTED,
  status.NOT_FOUND,
  status.OUT_OF_RANGE,
];

export function callErrorOf(error: ServiceError, endpoint: string): CallError {
  const { code, details } = error;
  const found = texts.find(([text]) => details.includes(text));
  const kind = found?.[1] ?? otherKind(code);
  return new CallError(kind, `etcd at ${endpoint}: ${details}`);
}

function otherKind(code: number): CallErrorKind {
  if (code === status.PERMISSION_DENIED) return 'denied';
  if (code === status.UNAUTHENTICATED) return 'tokenExpired';
  return certainCodes.includes(code) ? 'rejected' : 'unavailable';
}

export function kindOf(error: unknown): CallErrorKind | undefined {
  return error instanceof CallError ? error.kind : undefined;
}
