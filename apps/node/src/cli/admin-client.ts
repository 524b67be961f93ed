/** The command line's side of the admin API. */
import { type ErrorCode, errorCodes, RaftsealError } from '@raftseal/interface';

export interface AdminClientOptions {
  /** Such as http://127.0.0.1:7379. */
  readonly url: string;
  readonly token: string;
}

const TIMEOUT_MS = 30_000;

export class AdminClient {
  readonly #options: AdminClientOptions;

  constructor(options: AdminClientOptions) {
    this.#options = options;
  }

  get<T>(path: string): Promise<T> {
    return this.#call('GET', path);
  }

  /** @param timeoutMs how long the node may take; 0 waits for ever */
  post<T>(path: string, body: unknown = {}, timeoutMs?: number): Promise<T> {
    return this.#call('POST', path, JSON.stringify(body), timeoutMs);
  }

  /** @throws RAFTSEAL_NODE_UNREACHABLE, and the coded error that the node answers */
  async #call<T>(method: string, path: string, body?: string, timeoutMs = TIMEOUT_MS): Promise<T> {
    const { url, token } = this.#options;
    let response: Response;
    try {
      response = await fetch(new URL(path, url), {
        method,
        headers: { authorization: `Bearer ${token}` },
        ...(body === undefined ? {} : { body }),
        ...(timeoutMs === 0 ? {} : { signal: AbortSignal.timeout(timeoutMs) }),
      });
    } catch (cause) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_UNREACHABLE',
        `no node answers at ${url}: is it running, and is this its admin address (--admin)?`,
        { cause },
      );
    }
    const reply: unknown = await response.json().catch(() => undefined);
    if (response.ok && typeof reply === 'object' && reply !== null) return reply as T;
    throw errorOf(reply, response.status);
  }
}

function errorOf(reply: unknown, status: number): RaftsealError {
  if (typeof reply === 'object' && reply !== null && 'code' in reply && 'message' in reply) {
    const { code, message } = reply;
    if (typeof code === 'string' && Object.hasOwn(errorCodes, code)) {
      return new RaftsealError(code as ErrorCode, String(message));
    }
  }
  return new RaftsealError(
    'RAFTSEAL_NODE_UNREACHABLE',
    `something other than a raftseal node answers there (HTTP status ${status})`,
  );
}
