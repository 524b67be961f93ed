/**
 * The logs of all shards in one etcd cluster, as one process has them open: one session, one stream
 * of changes, one group commit, and one engine for each shard.
 */
import type { RaftEngine } from '@raftseal/interface';
import { EtcdClient } from './client.ts';
import { Confirmer } from './confirmer.ts';
import { Documents, type EtcdDocuments } from './documents.ts';
import { EtcdEngine } from './engine.ts';
import { closedError, raftsealErrorOf, shardUnknown } from './errors.ts';
import { GroupAppender } from './group-appender.ts';
import { Keys } from './keys.ts';
import { Leaders } from './leaders.ts';
import { type CheckedOptions, checkOptions, type EtcdLogOptions } from './options.ts';
import { Session } from './session.ts';
import { Space, type SpaceStatus } from './space.ts';
import { WatchHub } from './watch-hub.ts';

export interface EtcdSession {
  /** Random, of this opening. */
  readonly processId: string;
  /** Whether this node's lease holds for certain, by its own clock. */
  isCurrent(): boolean;
}

export interface EtcdLogStatus extends SpaceStatus {
  /** Where requests go at the moment. */
  readonly endpoint: string;
}

/** Opened by {@link openEtcdLog}. */
export class EtcdLog {
  readonly documents: EtcdDocuments;
  readonly session: EtcdSession;
  readonly #client: EtcdClient;
  readonly #session: Session;
  readonly #space: Space;
  readonly #engines: ReadonlyMap<number, EtcdEngine>;
  readonly #appender: GroupAppender;
  #closed: Promise<void> | undefined;

  /** @internal */
  constructor(
    options: CheckedOptions,
    parts: { client: EtcdClient; keys: Keys; session: Session },
    engines: Map<number, EtcdEngine>,
  ) {
    const { client, keys, session } = parts;
    const { nodeId, onEvent } = options;
    const hub = new WatchHub(client, onEvent);
    const leaders = new Leaders({ client, hub, keys }, session);
    this.#client = client;
    this.#session = session;
    this.session = session;
    this.#space = new Space(client, keys, options);
    this.#appender = new GroupAppender({ client, keys, space: this.#space });
    this.documents = new Documents({ client, hub, keys, session, nodeId });
    const shared = {
      ...parts,
      hub,
      leaders,
      appender: this.#appender,
      confirmer: new Confirmer(client, keys),
      space: this.#space,
      documents: this.documents,
      limits: { payloadBytesMax: options.payloadBytesMax, appendsInFlightMax: 1 },
      nodeId,
      onEvent,
    };
    for (const shardId of options.shardIds) {
      engines.set(shardId, new EtcdEngine({ ...shared, shardId }));
    }
    this.#engines = engines;
  }

  /**
   * The engine of a shard, always the same one. Closing it leaves the log open.
   * @throws RAFTSEAL_ENGINE_SHARD_UNKNOWN, RAFTSEAL_ENGINE_CLOSED
   */
  engine(shardId: number): RaftEngine {
    this.#assertOpen();
    const engine = this.#engines.get(shardId);
    if (engine === undefined) throw shardUnknown(shardId);
    return engine;
  }

  /**
   * Replaces what other nodes read of this one, at `nodes/<nodeId>`, within about a second; of
   * several in that time, the last one counts. It lasts over sessions.
   */
  publish(presence: Uint8Array): void {
    this.#assertOpen();
    this.#session.publish(presence);
  }

  /**
   * Lets etcd forget its history up to a revision that was observed `compactAfterMs` ago: what a
   * slow reader still needs stays. It concerns the whole cluster, not just the keys of this log.
   * @throws RAFTSEAL_ENGINE_UNAVAILABLE, RAFTSEAL_ENGINE_ACCESS_DENIED, RAFTSEAL_ENGINE_CLOSED
   */
  compact(): Promise<void> {
    return this.#maintain('etcd was not compacted', () => this.#space.compact());
  }

  /**
   * Shrinks the database files of the members, one after the other, and takes back etcd's alarm
   * that it is full. A member answers nothing while its file is rewritten.
   * @throws RAFTSEAL_ENGINE_UNAVAILABLE, RAFTSEAL_ENGINE_ACCESS_DENIED, RAFTSEAL_ENGINE_CLOSED
   */
  defragment(): Promise<void> {
    return this.#maintain('etcd was not defragmented', () => this.#space.defragment());
  }

  /** As last observed, a few seconds ago at most; cheap. */
  status(): EtcdLogStatus {
    const endpoint = this.#client.endpoints[this.#client.current] ?? '';
    return { ...this.#space.status, endpoint };
  }

  /** Closes every engine and ends the session: others can be elected at once. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    const engines = [...this.#engines.values()];
    // All of them are over as of now; their keys go with the session.
    for (const engine of engines) void engine.close();
    await this.#appender.idle();
    await this.#session.close();
    this.#client.close();
    await Promise.all(engines.map((engine) => engine.close()));
  }

  async #maintain(otherwise: string, work: () => Promise<void>): Promise<void> {
    this.#assertOpen();
    try {
      await work();
    } catch (error) {
      throw raftsealErrorOf(otherwise, error);
    }
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw closedError();
  }
}

/**
 * Opens the logs under a prefix of an etcd cluster, as one node.
 *
 * Where the node's presence is still there, of a process that has just ended, it waits until that
 * has lapsed.
 * @throws RAFTSEAL_ENGINE_IDENTITY_IN_USE where it does not lapse; RAFTSEAL_ENGINE_UNAVAILABLE,
 *   RAFTSEAL_ENGINE_ACCESS_DENIED, RAFTSEAL_ENGINE_NO_SPACE; RangeError, TypeError for options
 */
export async function openEtcdLog(options: EtcdLogOptions): Promise<EtcdLog> {
  const checked = checkOptions(options);
  const client = new EtcdClient(checked.access, checked.onEvent);
  const keys = new Keys(checked.prefix);
  const engines = new Map<number, EtcdEngine>();
  const onLapsed = (reason: string): void => {
    for (const engine of engines.values()) engine.onLapsed(reason);
  };
  const session = new Session(client, keys, { ...checked, onLapsed });
  try {
    await session.open();
  } catch (error) {
    client.close();
    throw raftsealErrorOf('the log cannot be opened', error);
  }
  return new EtcdLog(checked, { client, keys, session }, engines);
}
