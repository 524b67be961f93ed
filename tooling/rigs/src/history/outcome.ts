/**
 * What an answer, or the lack of one, says about a command.
 *
 * | outcome | means |
 * | --- | --- |
 * | done | it took effect once, between sending and answer, with this reply |
 * | refused | it did not take effect and never will |
 * | unknown | it may have taken effect, may do so later, or never |
 *
 * Everything that does not say for certain which it is, is unknown.
 */
import type { Reply } from '../linearizability/operation.ts';

export type Outcome =
  | { readonly outcome: 'done'; readonly replies: readonly Reply[] }
  | { readonly outcome: 'refused'; readonly reason: string }
  | { readonly outcome: 'unknown'; readonly reason: string };

/** Words with which a node says that it did nothing; a client library may send again after them. */
const refusal = /^(?:MOVED|CLUSTERDOWN|TRYAGAIN|LOADING|NOAUTH|EXECABORT) /;

/** How ioredis gives up; what it followed until then were refusals. */
const lastRedirection = /^Too many Cluster redirections\. Last error: ReplyError: (.*)$/s;

/** Errors that a command of Redis gives by its own rules, whatever else goes on. */
const ownError = /^(?:WRONGTYPE |ERR value is not an integer or out of range$)/;

/** The outcome of a command that failed with this error. */
export function outcomeOfError(error: unknown): Outcome {
  const text = error instanceof Error ? error.message : String(error);
  const reason = lastRedirection.exec(text)?.[1] ?? text;
  if (ownError.test(reason)) return { outcome: 'done', replies: [{ error: reason }] };
  return { outcome: refusal.test(reason) ? 'refused' : 'unknown', reason };
}

/** A reply as the library hands it over. */
export function replyOf(reply: unknown): Reply {
  if (typeof reply === 'string' || typeof reply === 'number' || reply === null) return reply;
  if (reply instanceof Error) return { error: reply.message };
  throw new TypeError(`expected a text, a number or nil, found ${typeof reply}`);
}
