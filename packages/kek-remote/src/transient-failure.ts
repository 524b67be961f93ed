/**
 * What an attempt ends with that may go better the next time: the service is throttled, faulty or
 * out of reach. A refusal is none: repeating it changes nothing, and may lock a caller out.
 */
import { codeOf } from '@raftseal/interface';

export class TransientKekFailure extends Error {
  /** How long the service asks to be left alone. */
  readonly retryAfterMs: number;

  /** @param message what was found, fit to be shown to an operator. */
  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.name = 'TransientKekFailure';
    this.retryAfterMs = retryAfterMs;
  }
}

const connectionCodes: readonly string[] = [
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ETIMEDOUT',
];

/** The code of a lost or failed connection, looked for in the causes of `error` as well. */
export function connectionFailureOf(error: unknown): string | undefined {
  for (let each: unknown = error, depth = 0; each instanceof Error && depth < 4; depth++) {
    const code = codeOf(each);
    if (code !== undefined && connectionCodes.includes(code)) return code;
    each = each.cause;
  }
  return undefined;
}

/** Throttling, and faults of the service or of what stands before it (RFC 9110 section 15.6). */
export function isTransientStatus(status: number): boolean {
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505);
}

/** The wait that a `Retry-After` header asks for (RFC 9110 section 10.2.3), where in seconds. */
export function retryAfterMsOf(header: string | null | undefined): number {
  return header !== null && header !== undefined && /^\d{1,6}$/.test(header.trim())
    ? Number(header) * 1_000
    : 0;
}
