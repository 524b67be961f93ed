/** What the HTTP APIs of a node have in common: bodies in JSON, and errors as code and message. */
import { type ErrorCode, RaftsealError } from '@raftseal/interface';
import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { ContentfulStatusCode } from 'hono/utils/http-status';

const BODY_BYTES_MAX = 64 * 1024;

/** Any other refusal is one of the state that the node is in. */
const statusOfRefusal = 409;

const statuses: Partial<Record<ErrorCode, ContentfulStatusCode>> = {
  RAFTSEAL_NODE_UNAUTHORIZED: 401,
  RAFTSEAL_NODE_PEER_REFUSED: 401,
  RAFTSEAL_NODE_BAD_REQUEST: 400,
  RAFTSEAL_NODE_NOT_FOUND: 404,
  RAFTSEAL_NODE_NOT_CONTROL_LEADER: 421,
  RAFTSEAL_NODE_INTERNAL: 500,
};

export interface ErrorReply {
  readonly code: ErrorCode;
  readonly message: string;
}

/** What a caller is told of a failure: of one that is not expected, nothing but that. */
export function errorReplyOf(
  error: unknown,
  onInternalError: (error: unknown) => void,
): { readonly reply: ErrorReply; readonly status: ContentfulStatusCode } {
  if (error instanceof RaftsealError) {
    const { code, message } = error;
    return { reply: { code, message }, status: statuses[code] ?? statusOfRefusal };
  }
  onInternalError(error);
  const message = 'unexpected failure: see the log of the node';
  return { reply: { code: 'RAFTSEAL_NODE_INTERNAL', message }, status: 500 };
}

/** Refuses a body that is too large before anything else is done with the call. */
export function boundedBody(): MiddlewareHandler {
  const limit = bodyLimit({
    maxSize: BODY_BYTES_MAX,
    onError: () => {
      throw badRequest(`expected a body of at most ${BODY_BYTES_MAX} bytes`);
    },
  });
  return async (c, next) => {
    try {
      return await limit(c, next);
    } catch (error) {
      throw error instanceof RaftsealError ? error : brokenBody();
    }
  };
}

export async function textBody(request: Pick<Request, 'text'>): Promise<string> {
  return request.text().catch(() => {
    throw brokenBody();
  });
}

export async function jsonBody(request: Pick<Request, 'text'>): Promise<Record<string, unknown>> {
  const text = await textBody(request);
  if (text === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badRequest('expected a JSON body');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badRequest('expected a JSON object');
  }
  return value as Record<string, unknown>;
}

/** The caller went away: no failure of this node. */
function brokenBody(): RaftsealError {
  return badRequest('expected a whole body');
}

export function badRequest(message: string): RaftsealError {
  return new RaftsealError('RAFTSEAL_NODE_BAD_REQUEST', message);
}
