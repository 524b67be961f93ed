/** The errors of this package, with what was expected, what was found and what to do. */
import { fatalError, RaftsealError } from '@raftseal/interface';

export function closedError(): RaftsealError {
  return new RaftsealError('RAFTSEAL_ENGINE_CLOSED', 'the log was closed: open it again to go on');
}

export function payloadTooLarge(byteLength: number, limit: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_PAYLOAD_TOO_LARGE',
    `a payload of ${byteLength} bytes is above the limit of ${limit}: split it`,
  );
}

export function truncatedError(from: number, firstIndex: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_TRUNCATED',
    `entry ${from} was truncated; the log starts at ${firstIndex}: install a snapshot first`,
  );
}

/** @param doing what failed, with the file it failed on. */
export function flushFailed(doing: string, cause: unknown): RaftsealError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new RaftsealError(
    'RAFTSEAL_ENGINE_FLUSH_FAILED',
    `${doing} failed (${reason}); the log takes no append from here on, since nobody can tell ` +
      'what the disk holds: look at the disk, then start the node again',
    { cause },
  );
}

export interface DamagePlace {
  readonly segment: string;
  readonly offset: number;
}

/** @param what is wrong, and which entries it concerns. */
export function corruptError(place: DamagePlace, what: string): RaftsealError {
  return fatalError(
    'RAFTSEAL_ENGINE_CORRUPT',
    `segment ${place.segment} is damaged at offset ${place.offset}: ${what}; restore the ` +
      'directory from a good copy, or rebuild this node',
  );
}
