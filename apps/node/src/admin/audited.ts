/**
 * Puts calls that may change something into the audit trail: once before they are acted on, and
 * once more with how they ended. Which calls only read is listed; every other one is recorded.
 */
import { createHash } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import { codeOf, RaftsealError } from '@raftseal/interface';
import type { Context, MiddlewareHandler } from 'hono';
import type { AuditedCall, CallEnd } from '../audit/audit-trail.ts';
import { withoutCredentials } from '../audit/entry-facts.ts';
import { textBody } from '../http-replies.ts';

/** Who makes a call, for the trail: never the token itself. */
export type CallerOf = (c: Context) => string;

const onlyReading: ReadonlySet<string> = new Set(['/v1/verify', '/v1/keys/blockers']);
const TEXT_CHARACTERS_MAX = 256;
const LIST_ITEMS_MAX = 64;

/** Fields of bodies that hold no secret. What else a caller sends is not kept. */
const shown: ReadonlySet<string> = new Set([
  'backupId',
  'dekId',
  'kekUris',
  'nodeId',
  'path',
  'purpose',
  'shard',
  'waves',
]);

/** @param note records a call and gives how to record its end; throws where it cannot */
export function audited(
  note: (call: AuditedCall) => Promise<CallEnd>,
  callerOf: CallerOf,
): MiddlewareHandler {
  return async (c, next) => {
    const { method } = c.req;
    // On the peer port the calls are below /admin.
    const path = shortened(c.req.path.replace(/^\/admin(?=\/)/, ''));
    if (method === 'GET' || onlyReading.has(path)) return next();
    const given = givenIn(await textBody(c.req));
    const end = await note({ method, path, caller: callerOf(c), given });
    try {
      await next();
    } catch (error) {
      await end(codeOfFailure(error));
      throw error;
    }
    await end(await codeOfReply(c));
    return undefined;
  };
}

/** Names the certificate that the caller has shown, where there is one. */
export function certificateOf(c: Context): string | undefined {
  const { incoming } = (c.env ?? {}) as { incoming?: { socket?: unknown } };
  const socket = incoming?.socket;
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const { CN } = socket.getPeerCertificate().subject ?? {};
  return `certificate ${shortened(String(CN ?? 'without a name'))}`;
}

/** Tells one token from another, and does not help to find one that was drawn at random. */
export function tokenFingerprint(token: string): string {
  const digest = createHash('sha256').update(`raftseal token fingerprint\n${token}`).digest('hex');
  return `token ${digest.slice(0, 8)}`;
}

async function codeOfReply({ error, res }: Context): Promise<string> {
  if (error) return codeOfFailure(error);
  if (res.ok) return 'done';
  // A refusal of the node that the call was sent on to.
  const reply: unknown = await res
    .clone()
    .json()
    .catch(() => undefined);
  return codeOf(reply) ?? `status ${res.status}`;
}

function codeOfFailure(error: unknown): string {
  return error instanceof RaftsealError ? error.code : 'RAFTSEAL_NODE_INTERNAL';
}

function givenIn(body: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return {};
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  const fields = Object.entries(value).filter(([name]) => shown.has(name));
  return Object.fromEntries(fields.map(([name, field]) => [name, plain(field, 2)]));
}

/** Lists of numbers and short texts, lists of them; anything else by its type alone. */
function plain(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return shortened(withoutCredentials(value));
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  if (!Array.isArray(value) || depth === 0) return `(${typeof value})`;
  return value.slice(0, LIST_ITEMS_MAX).map((item) => plain(item, depth - 1));
}

function shortened(text: string): string {
  return text.length <= TEXT_CHARACTERS_MAX ? text : `${text.slice(0, TEXT_CHARACTERS_MAX)}...`;
}
