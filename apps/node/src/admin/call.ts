/** Calls to the admin API, and what is answered, on their way between nodes. */
import { type ErrorCode, errorCodes, RaftsealError } from '@raftseal/interface';

/** A call to the admin API, as it came. */
export interface AdminCall {
  readonly method: string;
  /** With the query, such as `/v1/keys/rotate`. */
  readonly path: string;
  readonly body: string;
  /** How long the node that is asked may take. Default: a call's usual time. */
  readonly timeoutMs?: number;
}

/** The coded error that a node answers with; undefined where the reply is none. */
export function errorIn(reply: unknown): RaftsealError | undefined {
  if (typeof reply !== 'object' || reply === null) return undefined;
  if (!('code' in reply && 'message' in reply)) return undefined;
  const { code, message } = reply;
  if (typeof code !== 'string' || !Object.hasOwn(errorCodes, code)) return undefined;
  return new RaftsealError(code as ErrorCode, String(message));
}

/** What another node has answered. @throws the coded error that it answers */
export async function answerOf<T extends object>(response: Response): Promise<T> {
  const reply: unknown = await response.json().catch(() => undefined);
  if (response.ok && typeof reply === 'object' && reply !== null) return reply as T;
  const refusal = errorIn(reply);
  if (refusal) throw refusal;
  throw new RaftsealError(
    'RAFTSEAL_NODE_PEER_REPLY',
    `the leader of the control shard answered HTTP status ${response.status}, without a reason`,
  );
}
