/** The admin API of one node, as far as the rig asks for it. */
import type { NodePlace } from './raftseal-node.ts';

export interface ShardStatus {
  readonly shardId: number;
  readonly state: string;
  readonly appliedIndex: string;
  readonly durableIndex: string;
  readonly cutoverIndex: string | null;
  readonly haltCode: string | null;
}

export interface NodeStatus {
  readonly nodeId: string;
  /** The start is complete. */
  readonly ready: boolean;
  readonly encryption: 'off' | 'enabling' | 'sealed';
  readonly storage: 'cleartext' | 'sealed';
  readonly shards: readonly ShardStatus[];
}

/** By shard: the index of the last entry applied, and a digest of the plaintext state there. */
export type NodeDigest = Readonly<
  Record<string, { readonly index: string; readonly digest: string }>
>;

export interface VerifyReport {
  readonly clean: boolean;
  readonly problems: readonly string[];
}

const TIMEOUT_MS = 2_000;
const VERIFY_TIMEOUT_MS = 60_000;

export class NodeAdmin {
  readonly #url: string;
  readonly #token: string;

  constructor({ host, adminPort }: NodePlace, token: string) {
    this.#url = `http://${host.address}:${adminPort}`;
    this.#token = token;
  }

  get url(): string {
    return this.#url;
  }

  status(): Promise<NodeStatus> {
    return this.#call<NodeStatus>('GET', '/v1/status', TIMEOUT_MS);
  }

  digest(): Promise<NodeDigest> {
    return this.#call<NodeDigest>('GET', '/v1/digest', VERIFY_TIMEOUT_MS);
  }

  verify(): Promise<VerifyReport> {
    return this.#call<VerifyReport>('POST', '/v1/verify', VERIFY_TIMEOUT_MS);
  }

  async enableEncryption(timeoutMs: number): Promise<void> {
    await this.#call('POST', '/v1/encryption/enable', timeoutMs);
  }

  async #call<Answer>(method: 'GET' | 'POST', path: string, timeoutMs: number): Promise<Answer> {
    const response = await fetch(`${this.#url}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}` },
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`);
    return JSON.parse(text) as Answer;
  }
}
