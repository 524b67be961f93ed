/** The errors of this package, with what was expected, what was found and what to do. */

import { fatalError, RaftsealError } from '@raftseal/interface';
import { kindOf } from './call-error.ts';

export function closedError(): RaftsealError {
  return new RaftsealError('RAFTSEAL_ENGINE_CLOSED', 'the log was closed: open it again to go on');
}

/** @param what could not be done, and what is known of it. */
export function unavailable(what: string, cause: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_UNAVAILABLE',
    `${what}: ${reasonOf(cause)}; look at the etcd cluster and at the way there`,
    { cause },
  );
}

export function accessDenied(cause: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_ACCESS_DENIED',
    `etcd refuses this node (${reasonOf(cause)}): give its user read and write permission for ` +
      'every key under the prefix, and the node the right password or certificate',
    { cause },
  );
}

export function noSpace(found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_NO_SPACE',
    `the log takes no entry: ${found}; truncate and compact the log, then defragment etcd, or ` +
      'give it a larger quota',
  );
}

export function payloadTooLarge(byteLength: number, limit: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_PAYLOAD_TOO_LARGE',
    `a payload of ${byteLength} bytes is above the limit of ${limit}: split it`,
  );
}

export function refusedBySize(byteLength: number, cause: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_PAYLOAD_TOO_LARGE',
    `etcd refuses a request of ${byteLength} bytes (${reasonOf(cause)}): start its members with ` +
      'the default of --max-request-bytes (1.5 MiB) or more, or open the log with a smaller ' +
      'payloadBytesMax',
    { cause },
  );
}

export function truncatedError(shardId: number, from: bigint, firstIndex: bigint): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_TRUNCATED',
    `shard ${shardId}: entry ${from} was truncated; the log starts at ${firstIndex}: install a ` +
      'snapshot first',
  );
}

/** @param what is wrong with which entry. */
export function corruptError(shardId: number, what: string): RaftsealError {
  return fatalError(
    'RAFTSEAL_ENGINE_CORRUPT',
    `the log of shard ${shardId} in etcd is damaged: ${what}; restore the etcd cluster from a ` +
      'good copy, or rebuild the shard from a snapshot',
  );
}

export function shardUnknown(shardId: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_SHARD_UNKNOWN',
    `the log was opened without shard ${shardId}: name it among the shardIds`,
  );
}

export function identityInUse(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_IDENTITY_IN_USE',
    `another process runs as node ${nodeId}: expected its presence in etcd to lapse, and it was ` +
      'kept alive; end that process, or, if this data directory is a copy, start this node ' +
      'without it',
  );
}

export function displacedError(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_DISPLACED',
    `another process has taken over as node ${nodeId} while this one was out of touch: this one ` +
      'never leads again; end it, and see that no two copies of one data directory run',
  );
}

/** @param what was attempted, for an operator to read. */
export function raftsealErrorOf(what: string, error: unknown): unknown {
  const kind = kindOf(error);
  if (kind === undefined) return error;
  if (kind === 'closed') return closedError();
  if (kind === 'denied') return accessDenied(error);
  if (kind === 'noSpace') return noSpace(reasonOf(error));
  return unavailable(what, error);
}

export function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
