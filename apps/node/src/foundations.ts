/**
 * What a node is made of once its keys, logs and stores are open. Opened in this order, so that
 * every refusal comes before a nonce epoch is used up: lock of the data directory, audit trail, KEK,
 * sidecar, keys and wraps, logs, stores.
 */
import { CONTROL_SHARD, codeOf, RaftsealError } from '@raftseal/interface';
import type { Logger } from 'pino';
import { AuditTrail } from './audit/audit-trail.ts';
import type { NodeConfig } from './config.ts';
import {
  type DataDirectory,
  type DataDirectoryRequest,
  openDataDirectory,
} from './data-directory.ts';
import { kekFromUri } from './kek-from-uri.ts';
import { KekSet, type OpenKek } from './kek-set.ts';
import { NodeCounters } from './node-counters.ts';
import { NodeKeys } from './node-keys.ts';
import { type NodeLogs, openEmbeddedLogs } from './node-logs.ts';
import { NodeShard, type ShardPeers } from './node-shard.ts';
import type { Teardown } from './teardown.ts';

/** What opening them needs to know. */
export type FoundationsConfig = Pick<
  NodeConfig,
  'dataPath' | 'shardCount' | 'encryption' | 'kekUris' | 'cacheBytesMax'
>;

export interface NodeFoundations {
  readonly config: FoundationsConfig;
  readonly log: Logger;
  readonly directory: DataDirectory;
  readonly audit: AuditTrail;
  readonly counters: NodeCounters;
  readonly keys: NodeKeys;
  readonly logs: NodeLogs;
  readonly shards: readonly NodeShard[];
}

export interface FoundationsParts {
  readonly log: Logger;
  readonly teardown: Teardown;
  /** Default: `kekFromUri`. */
  readonly openKek?: OpenKek;
  /** Default: false. See the data directory's. */
  readonly isRestoring?: boolean;
}

/** Where the logs are, and what else a shard needs that is not alone. */
export interface LogSource {
  readonly request: Pick<DataDirectoryRequest, 'logPlace' | 'shardCount'>;
  open(directory: DataDirectory, shardIds: readonly number[]): Promise<NodeLogs>;
  /** Undefined: no other node has the shards. */
  readonly peers: ShardPeers | undefined;
}

/** Logs on the disk of this machine, which nobody else has. */
export function embeddedSource({ shardCount }: FoundationsConfig): LogSource {
  return {
    request: { logPlace: 'embedded', ...(shardCount === undefined ? {} : { shardCount }) },
    open: ({ logPath, nodeId }, shardIds) =>
      openEmbeddedLogs({ directory: logPath, nodeId, shardIds }),
    peers: undefined,
  };
}

/** Whatever was opened is closed by `teardown`, also where this throws. */
export async function openFoundations(
  config: FoundationsConfig,
  source: LogSource,
  { log, teardown, isRestoring = false, openKek = kekFromUri }: FoundationsParts,
): Promise<NodeFoundations> {
  const request = { path: config.dataPath, isRestoring, ...source.request };
  const directory = await openDataDirectory(request);
  teardown.add(() => directory.release());
  const audit = await openAuditTrail(directory, log);
  teardown.add(() => audit.close());
  const counters = new NodeCounters();
  const keks = await KekSet.open(config.kekUris, counters.measured(openKek));
  teardown.add(() => keks.close());
  for (const outOfReach of keks.outOfReach) {
    log.warn(outOfReach, 'a KEK is out of reach: keys are opened with the others, none is made');
  }
  const shards: NodeShard[] = [];
  // A cluster that was sealed while this node was down or is restarted is joined as it is.
  const keys = await NodeKeys.open(
    {
      nodeId: directory.nodeId,
      directory: directory.keysPath,
      encryption: config.encryption === 'on' || (!keks.isEmpty && source.peers) ? 'on' : 'off',
      keks,
      note: audit.note,
      onKekAway: (error) => {
        log.warn(
          { code: codeOf(error instanceof Error ? error.cause : error) },
          'no KEK of a new key is in reach: shard 0 of this node waits until one is back',
        );
        // Other nodes may reach theirs.
        const control = source.peers && shards[CONTROL_SHARD];
        return control?.group.standAside() ?? (() => undefined);
      },
      onOpenFailure: (layer, error) => counters.openFailed(layer, error),
    },
    teardown,
  );
  const shardIds = Array.from({ length: directory.shardCount }, (_, shardId) => shardId);
  const logs = await source.open(directory, shardIds);
  teardown.add(() => logs.close());
  const foundations = { config, log, directory, audit, counters, keys, logs, shards };
  for (const shardId of shardIds) {
    shards.push(await openShard(shardId, { ...foundations, peers: source.peers }, teardown));
  }
  return foundations;
}

function openAuditTrail({ auditPath, nodeId }: DataDirectory, log: Logger): Promise<AuditTrail> {
  return AuditTrail.open({
    directory: auditPath,
    nodeId,
    onFailure: (error) =>
      log.error(
        { code: codeOf(error) },
        'the audit trail cannot be written: calls that may change something are refused',
      ),
    onRecovery: () => log.info('the audit trail is written again'),
  });
}

async function openShard(
  shardId: number,
  parts: NodeFoundations & Pick<LogSource, 'peers'>,
  teardown: Teardown,
): Promise<NodeShard> {
  const { config, log, directory, keys, logs, peers } = parts;
  const options = {
    shardId,
    directory: directory.shardPath(shardId),
    cacheBytesMax: Math.floor(config.cacheBytesMax / directory.shardCount),
    sealedFromBirth: config.encryption === 'on',
    sealedOnly: keys.state.sealedOnlyIndex !== undefined,
  };
  const opening = NodeShard.open(options, {
    engine: logs.engine(shardId),
    keyLifecycle: keys.lifecycle,
    wrap: keys.installer.wrapOf(shardId),
    seal: keys.state.storageIndex === undefined ? 'cleartext' : keys.rowSeal,
    peers,
    // On a node alone, the control log of its disk has every key, or nobody has it.
    dekMayCome: () => peers !== undefined || isControlReplaying(shardId, parts.shards),
    onHalt: (error, appliedIndex) => {
      const where = { shardId, code: codeOf(error) };
      const found = `shard ${shardId} halted after entry ${appliedIndex}: ${error.message}`;
      log.error(where, `${found}; the others go on`);
    },
  });
  const shard = await opening.catch((error: unknown) => {
    if (codeOf(error) === 'RAFTSEAL_KV_STORE_SEALED_ONLY') {
      throw sidecarBehindStore(shardId, directory.keysPath, error);
    }
    const isKeyless = !keys.state.clusterId && codeOf(error) === 'RAFTSEAL_KV_SEAL_REQUIRED';
    if (isKeyless) throw sidecarMissing(directory.keysPath, peers !== undefined, error);
    const cause = error instanceof Error ? error.cause : undefined;
    if (codeOf(cause) === 'RAFTSEAL_ENVELOPE_UNKNOWN_DEK') throw storeOfOtherKeys(shardId, error);
    throw error;
  });
  teardown.add(() => shard.close());
  keys.installer.attach(shard.group);
  return shard;
}

/** Whether a key may come from entries of the control shard that are not applied yet. */
function isControlReplaying(shardId: number, shards: readonly NodeShard[]): boolean {
  return shardId !== CONTROL_SHARD && shards[CONTROL_SHARD]?.isReplayed === false;
}

function sidecarBehindStore(shardId: number, path: string, cause: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_SIDECAR_BEHIND_STORE',
    `the store of shard ${shardId} is sealed-only, and the sidecar in ${path} does not know of it: ` +
      'it is an older copy; rebuild it with `raftseal resync-sidecar`, or, where that is refused, ' +
      'restore a backup; nothing was changed',
    { cause },
  );
}

function storeOfOtherKeys(shardId: number, cause: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_SIDECAR_BEHIND_STORE',
    `the store of shard ${shardId} is sealed under a DEK that the sidecar lacks: the sidecar is an ` +
      'older copy, or the store is of another node; rebuild the sidecar with `raftseal ' +
      'resync-sidecar`, or, where that is refused, restore a backup; nothing was changed',
    { cause },
  );
}

function sidecarMissing(path: string, isOfCluster: boolean, cause: unknown): RaftsealError {
  const remedy = isOfCluster
    ? 'rebuild it from another node with `raftseal resync-sidecar`'
    : 'put an older copy of it there and run `raftseal resync-sidecar`, or restore a backup';
  return new RaftsealError(
    'RAFTSEAL_NODE_SIDECAR_MISSING',
    `the store holds sealed rows and ${path} has no sidecar, which says with which keys: ${remedy}`,
    { cause },
  );
}
