/**
 * Errors are matched by `code`, never by their text and never by `instanceof` across packages.
 * A code never changes its meaning; a message may. The table of codes is the sum of `errors/*.ts`,
 * one file per area, and docs/errors.md lists the same codes.
 */
import { applierErrors } from './errors/applier.ts';
import { backupErrors } from './errors/backup.ts';
import { engineErrors } from './errors/engine.ts';
import { envelopeErrors } from './errors/envelope.ts';
import { kekErrors } from './errors/kek.ts';
import { kvErrors } from './errors/kv.ts';
import { nodeErrors } from './errors/node.ts';
import { respErrors } from './errors/resp.ts';
import { shardGroupErrors } from './errors/shard-group.ts';
import { sidecarErrors } from './errors/sidecar.ts';

/** Code to a one-line description of the condition. */
export const errorCodes: typeof applierErrors &
  typeof backupErrors &
  typeof engineErrors &
  typeof envelopeErrors &
  typeof kekErrors &
  typeof kvErrors &
  typeof nodeErrors &
  typeof respErrors &
  typeof shardGroupErrors &
  typeof sidecarErrors = {
  ...applierErrors,
  ...backupErrors,
  ...engineErrors,
  ...envelopeErrors,
  ...kekErrors,
  ...kvErrors,
  ...nodeErrors,
  ...respErrors,
  ...shardGroupErrors,
  ...sidecarErrors,
};

export type ErrorCode = keyof typeof errorCodes;

/** An operational error: something outside the program's text is not as it must be. */
export class RaftsealError extends Error {
  /** Stable; `RAFTSEAL_<AREA>_<CONDITION>`. */
  readonly code: ErrorCode;
  /** True where a shard's apply must stop without advancing its index. */
  readonly fatal: boolean;

  /**
   * @param message says what was expected, what was found, and what the operator can do next;
   *   never key bytes, plaintext keys or plaintext values.
   */
  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; fatal?: boolean } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = options.fatal ? 'FatalError' : 'RaftsealError';
    this.code = code;
    this.fatal = options.fatal ?? false;
  }
}

/** An error that stops a shard's apply: the index does not advance and nothing is skipped. */
export function fatalError(code: ErrorCode, message: string, cause?: unknown): RaftsealError {
  return new RaftsealError(code, message, {
    fatal: true,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The `code` of anything thrown, or undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Checks an invariant of the program itself; on in production. Throws a plain Error. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
