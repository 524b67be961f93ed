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

/** What another node has answered. @throws the coded error that it answers */
export async function answerOf<T extends object>(response: Response): Promise<T> {
  const reply: unknown = await response.json().catch(() => undefined);
  if (typeof reply === 'object' && reply !== null) {
    if (response.ok) return reply as T;
    const { code, message } = reply as Record<string, unknown>;
    if (typeof code === 'string' && Object.hasOwn(errorCodes, code)) {
      throw new RaftsealError(code as ErrorCode, String(message));
    }
  }
  throw new RaftsealError(
    'RAFTSEAL_NODE_PEER_REPLY',
    `the leader of the control shard answered HTTP status ${response.status}, without a reason`,
  );
}
