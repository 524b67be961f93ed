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

export interface KeyStatus {
  readonly dekId: number;
  readonly purpose: KeyPurpose;
  readonly active: boolean;
  /** Under which KEKs it is wrapped. */
  readonly kekUris: readonly string[];
}

export type KeyPurpose = 'storage' | 'raft' | 'index';

export interface NodeStatus {
  readonly nodeId: string;
  /** The start is complete. */
  readonly ready: boolean;
  readonly encryption: 'off' | 'enabling' | 'sealed';
  readonly storage: 'cleartext' | 'sealed';
  readonly shards: readonly ShardStatus[];
  readonly kekUris: readonly string[];
  readonly keys: readonly KeyStatus[];
}

/** What keeps a DEK from being retired. */
export interface Blocker {
  readonly kind: string;
  /** Of rows: how many. */
  readonly rows?: number;
  /** Of a backup. */
  readonly backupId?: string;
}

export interface BackupSummary {
  readonly backupId: string;
  readonly rows: number;
  /** What it needs, and keeps from being retired. */
  readonly dekIds: readonly number[];
}

/** As far as the rig looks at it. */
export interface RetirementReceipt {
  readonly dekId: number;
  readonly members: readonly { readonly nodeId: string; readonly rows: number }[];
  readonly logs: readonly { readonly shardId: number }[];
}

/** What a node answered instead of doing what it was asked for. */
export class AdminRefusal extends Error {
  /** `RAFTSEAL_...`; undefined where the answer has none. */
  readonly code: string | undefined;

  constructor(path: string, status: number, text: string) {
    super(`${path} answered ${status}: ${text}`);
    this.code = /"code":"(RAFTSEAL_\w+)"/.exec(text)?.[1];
  }
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
/** The command line waits for ever; a node, 60 s for its shards. */
const BACKUP_TIMEOUT_MS = 120_000;

/** As long as the command line waits. */
const CHANGE_TIMEOUT_MS = 30_000;

export class NodeAdmin {
  readonly #url: string;
  readonly #token: string;
  readonly #changeTimeoutMs: number;

  /** @param changeTimeoutMs how long the answer to a change is waited for */
  constructor(
    { host, adminPort }: NodePlace,
    token: string,
    changeTimeoutMs: number = CHANGE_TIMEOUT_MS,
  ) {
    this.#url = `http://${host.address}:${adminPort}`;
    this.#token = token;
    this.#changeTimeoutMs = changeTimeoutMs;
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

  /** @returns the id of the new DEK */
  async rotate(purpose: KeyPurpose): Promise<number> {
    const body = { purpose };
    const answer = await this.#change<{ readonly dekId: number }>('/v1/keys/rotate', body);
    return answer.dekId;
  }

  useKeks(kekUris: readonly string[]): Promise<NodeStatus> {
    return this.#change<NodeStatus>('/v1/keks/use', { kekUris });
  }

  /** @returns the URIs of the KEKs that every DEK is wrapped under */
  async rewrap(): Promise<readonly string[]> {
    const answer = await this.#change<{ readonly kekUris: readonly string[] }>(
      '/v1/keys/rewrap',
      {},
    );
    return answer.kekUris;
  }

  async blockers(dekId: number): Promise<readonly Blocker[]> {
    const body = { dekId };
    const answer = await this.#change<{ readonly blockers: readonly Blocker[] }>(
      '/v1/keys/blockers',
      body,
    );
    return answer.blockers;
  }

  retire(dekId: number): Promise<RetirementReceipt> {
    return this.#change<RetirementReceipt>('/v1/keys/retire', { dekId });
  }

  createBackup(path: string): Promise<BackupSummary> {
    return this.#call<BackupSummary>('POST', '/v1/backups/create', BACKUP_TIMEOUT_MS, { path });
  }

  /** @returns the ids of those that are registered, as this node knows them */
  async backups(): Promise<readonly string[]> {
    const { backups } = await this.#call<{
      readonly backups: readonly Pick<BackupSummary, 'backupId'>[];
    }>('GET', '/v1/backups', TIMEOUT_MS);
    return backups.map(({ backupId }) => backupId);
  }

  async forgetBackup(backupId: string): Promise<void> {
    await this.#change('/v1/backups/forget', { backupId });
  }

  #change<Answer>(path: string, body: Readonly<Record<string, unknown>>): Promise<Answer> {
    return this.#call<Answer>('POST', path, this.#changeTimeoutMs, body);
  }

  async #call<Answer>(
    method: 'GET' | 'POST',
    path: string,
    timeoutMs: number,
    body?: Readonly<Record<string, unknown>>,
  ): Promise<Answer> {
    const response = await fetch(`${this.#url}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}` },
      signal: AbortSignal.timeout(timeoutMs),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new AdminRefusal(path, response.status, text);
    return JSON.parse(text) as Answer;
  }
}
