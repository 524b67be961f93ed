/** Bounds on what one request may make the server hold. */
import { constants } from 'node:buffer';

export interface RequestLimits {
  /** Longest argument, in bytes. */
  readonly bulkBytesMax: number;
  /** Most arguments of one request, the command's name included. */
  readonly argumentsMax: number;
  /** Longest inline request, and longest line that announces a length, in bytes. */
  readonly inlineBytesMax: number;
  /** All arguments of one request together, in bytes. */
  readonly requestBytesMax: number;
}

/**
 * The defaults of Redis 7, but for `argumentsMax` (Redis takes 2^31) and for the 24 bytes by which
 * V8's longest string is below 512 MB.
 */
export const defaultRequestLimits: RequestLimits = {
  bulkBytesMax: Math.min(512 * 1024 * 1024, constants.MAX_STRING_LENGTH),
  argumentsMax: 1024 * 1024,
  inlineBytesMax: 64 * 1024,
  requestBytesMax: 1024 * 1024 * 1024,
};

/** What a client that has not authenticated may send, as in Redis 7. */
export const unauthenticatedLimits: Readonly<Pick<RequestLimits, 'argumentsMax' | 'bulkBytesMax'>> =
  { argumentsMax: 10, bulkBytesMax: 16 * 1024 };

/** Fills in the defaults. Throws RangeError for a limit that is no positive whole number. */
export function requestLimits(limits: Partial<RequestLimits> = {}): RequestLimits {
  const filled = { ...defaultRequestLimits, ...limits };
  for (const [name, value] of Object.entries(filled)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(`${name}: expected a positive whole number, found ${value}`);
    }
  }
  if (filled.bulkBytesMax > constants.MAX_STRING_LENGTH) {
    throw new RangeError(
      `bulkBytesMax: expected at most ${constants.MAX_STRING_LENGTH}, the longest string of ` +
        `this JavaScript engine, found ${filled.bulkBytesMax}`,
    );
  }
  return filled;
}
