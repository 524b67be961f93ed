/**
 * The data directory of a node.
 *
 * | path | content |
 * | --- | --- |
 * | raftseal.json | format version, node id, number of shards, where the logs are; written once |
 * | cluster.json | which cluster the node is of; written once, where its logs are in etcd |
 * | lock | which process uses the directory |
 * | admin.token | what admin calls must carry |
 * | keys/ | the sidecar `keys.raftseal` and the writer registry |
 * | log/ | segments of the shards' logs |
 * | shards/<id>/ | the store of one shard |
 * | audit/ | the audit trail; made with its first record |
 *
 * Directories are 0700, files 0600. The shard count is fixed at the first start: it decides which
 * slot lives where.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { codeOf, RaftsealError } from '@raftseal/interface';
import { type DirectoryLock, lockDirectory } from './data-directory-lock.ts';

/** Of the data directory, and of what nodes of one cluster have to agree on. */
export const FORMAT_VERSION = 1;

/** Where the logs of a node are: on its own disk, or in an etcd cluster. */
export type LogPlace = 'embedded' | 'etcd';

export interface DataDirectory {
  /** Absolute. */
  readonly path: string;
  readonly nodeId: string;
  readonly shardCount: number;
  /** Hex; undefined before the node knows. */
  readonly clusterName: string | undefined;
  readonly keysPath: string;
  readonly logPath: string;
  readonly adminTokenPath: string;
  readonly auditPath: string;
  shardPath(shardId: number): string;
  /** Records which cluster the node is of, for good. */
  joined(clusterName: string): Promise<void>;
  /** Gives the lock back. */
  release(): Promise<void>;
}

export interface DataDirectoryRequest {
  readonly path: string;
  /** Asked for on the command line; a directory that has another count is refused. */
  readonly shardCount?: number;
  /** Default: embedded. A directory whose logs are elsewhere is refused. */
  readonly logPlace?: LogPlace;
  /** Default: false. What a restore is made in is opened by nothing but that restore. */
  readonly isRestoring?: boolean;
}

export const SHARD_COUNT_DEFAULT = 4;
const RESTORING = '.restoring';

/** Where the parts of a data directory are. */
export function dataDirectoryPaths(path: string): {
  readonly identity: string;
  readonly cluster: string;
  readonly lock: string;
  readonly adminToken: string;
  readonly audit: string;
  readonly keys: string;
  readonly log: string;
  readonly shards: string;
} {
  const at = (name: string): string => join(path, name);
  return {
    identity: at('raftseal.json'),
    cluster: at('cluster.json'),
    lock: at('lock'),
    adminToken: at('admin.token'),
    audit: at('audit'),
    keys: at('keys'),
    log: at('log'),
    shards: at('shards'),
  };
}

/** What a restore to this data directory is made in, beside it, until all of it is there. */
export function restoringPath(path: string): string {
  return `${path}${RESTORING}`;
}

/** The data directory that a restore in this place is to become; undefined for any other place. */
function restoreTarget(path: string): string | undefined {
  const place = dirname(path);
  const isPlace = place.endsWith(RESTORING) && existsSync(join(place, 'importing.json'));
  return isPlace ? place.slice(0, -RESTORING.length) : undefined;
}

/**
 * Locks the directory, and makes it where it does not exist.
 * @throws RAFTSEAL_NODE_DATA_DIR, _DATA_DIR_FORMAT, _DATA_DIR_LOCKED, _DATA_DIR_MODE, _SHARD_COUNT,
 *   _LOG_PLACE; RAFTSEAL_BACKUP_RESTORE_UNFINISHED
 */
export async function openDataDirectory(request: DataDirectoryRequest): Promise<DataDirectory> {
  const path = resolve(request.path);
  const { isRestoring = false } = request;
  const restoredTo = restoreTarget(path);
  if (restoredTo !== undefined && !isRestoring) throw restoreUnfinished(path, restoredTo);
  const paths = dataDirectoryPaths(path);
  await inDirectory(path, () => makeDirectory(path));
  const lock = await inDirectory(path, () => lockDirectory(paths.lock));
  try {
    const identity = await identityOf(path, request);
    for (const part of [paths.keys, paths.log, paths.shards]) {
      await inDirectory(path, () => makeDirectory(part));
    }
    await inDirectory(path, () => checkClosedToOthers(path));
    return directory(path, { ...identity, clusterName: await readClusterName(path) }, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

function directory(
  path: string,
  identity: Identity & Pick<DataDirectory, 'clusterName'>,
  lock: DirectoryLock,
): DataDirectory {
  const paths = dataDirectoryPaths(path);
  return {
    path,
    nodeId: identity.nodeId,
    shardCount: identity.shardCount,
    clusterName: identity.clusterName,
    keysPath: paths.keys,
    logPath: paths.log,
    adminTokenPath: paths.adminToken,
    auditPath: paths.audit,
    shardPath: (shardId) => join(paths.shards, String(shardId)),
    joined: (clusterName) =>
      inDirectory(path, () =>
        writeFlushed(paths.cluster, `${JSON.stringify({ clusterName }, null, 2)}\n`),
      ),
    release: () => lock.release(),
  };
}

export interface Identity {
  readonly nodeId: string;
  readonly shardCount: number;
  readonly logPlace: LogPlace;
}

async function identityOf(path: string, request: DataDirectoryRequest): Promise<Identity> {
  const { logPlace = 'embedded' } = request;
  const found = await readIdentity(path);
  if (found === undefined) {
    if (existsSync(restoringPath(path))) throw restoreUnfinished(path, path);
    await inDirectory(path, () => checkHoldsNoData(path));
    return writeIdentity(path, request.shardCount ?? SHARD_COUNT_DEFAULT, logPlace);
  }
  if (found.logPlace !== logPlace) throw otherLogPlace(path, found.logPlace);
  if (request.shardCount !== undefined && request.shardCount !== found.shardCount) {
    throw new RaftsealError(
      'RAFTSEAL_NODE_SHARD_COUNT',
      `${path} was made for ${found.shardCount} shards and cannot be opened with ` +
        `${request.shardCount}: leave --shards out, or use another directory`,
    );
  }
  return found;
}

/**
 * What is under way beside a data directory may be about to take its place: an empty node must not.
 * Neither may what has not taken its place be served: it may lack anything.
 */
function restoreUnfinished(path: string, target: string): RaftsealError {
  const found = path === target ? 'holds no data' : 'is what a restore is made in';
  return new RaftsealError(
    'RAFTSEAL_BACKUP_RESTORE_UNFINISHED',
    `${path} ${found}, and the restore in ${restoringPath(target)} has not finished: run ` +
      `\`raftseal backup restore\` to ${target} again, which goes on with it, or remove ` +
      `${restoringPath(target)} to begin with an empty node`,
  );
}

function otherLogPlace(path: string, found: LogPlace): RaftsealError {
  const remedy = found === 'etcd' ? 'start it with --etcd' : 'start it without --etcd';
  return new RaftsealError(
    'RAFTSEAL_NODE_LOG_PLACE',
    `${path} is of a node whose logs are ${found === 'etcd' ? 'in etcd' : 'on its own disk'}: ` +
      `${remedy}, or use another directory; nothing was changed`,
  );
}

/** The cluster that a node has joined; undefined where it has joined none. */
async function readClusterName(path: string): Promise<string | undefined> {
  const file = dataDirectoryPaths(path).cluster;
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw directoryError(path, error);
  }
  const name = parseObject(text)?.clusterName;
  if (typeof name === 'string' && /^[0-9a-f]{32}$/.test(name)) return name;
  throw new RaftsealError(
    'RAFTSEAL_NODE_DATA_DIR_FORMAT',
    `${file} was expected to name a cluster and is damaged: restore it from a backup of this node`,
  );
}

/** Under another identity, what is there would be another node's. */
async function checkHoldsNoData(path: string): Promise<void> {
  const { identity, keys, log, shards } = dataDirectoryPaths(path);
  for (const part of [keys, log, shards]) {
    const names = await readdir(part).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    });
    // What file systems keep at the root of a volume, which a part may be.
    if (names.every((name) => name === 'lost+found')) continue;
    throw new RaftsealError(
      'RAFTSEAL_NODE_DATA_DIR_FORMAT',
      `${part} holds data, and ${basename(identity)}, which says whose, is missing: restore the ` +
        'whole directory, or use another one; nothing was changed',
    );
  }
}

/**
 * Who may write to a folder can put an older copy in place of what is in it, whatever the modes of
 * the files are. The directory itself may be the root of a volume that a group owns.
 */
async function checkClosedToOthers(path: string): Promise<void> {
  // Windows has no such modes.
  if (process.platform === 'win32') return;
  const { keys, log, shards, audit } = dataDirectoryPaths(path);
  for (const part of [path, keys, log, shards, audit]) {
    const mode = await stat(part).then(
      (found) => found.mode,
      (error: unknown) => {
        if (codeOf(error) === 'ENOENT') return 0;
        throw error;
      },
    );
    if ((mode & (part === path ? 0o002 : 0o022)) === 0) continue;
    throw new RaftsealError(
      'RAFTSEAL_NODE_DATA_DIR_MODE',
      `expected ${part} to be writable by its owner alone, found mode ` +
        `${(mode & 0o7777).toString(8)}: find out who has written there, then chmod 700; nothing ` +
        'was changed',
    );
  }
}

/** The identity of an existing data directory; undefined where there is none yet. */
export async function readIdentity(path: string): Promise<Identity | undefined> {
  const file = dataDirectoryPaths(path).identity;
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw directoryError(path, error);
  }
  const identity = parseIdentity(text);
  if (identity === undefined) {
    throw new RaftsealError(
      'RAFTSEAL_NODE_DATA_DIR_FORMAT',
      `${file} was expected to describe a data directory of format ${FORMAT_VERSION}: it was ` +
        'written by another version of raftseal, is damaged, or belongs to something else',
    );
  }
  return identity;
}

function parseIdentity(text: string): Identity | undefined {
  const value = parseObject(text);
  if (value === undefined) return undefined;
  const { formatVersion, nodeId, shardCount, logPlace = 'embedded' } = value;
  const known =
    formatVersion === FORMAT_VERSION &&
    typeof nodeId === 'string' &&
    nodeId.length > 0 &&
    typeof shardCount === 'number' &&
    isShardCount(shardCount) &&
    (logPlace === 'embedded' || logPlace === 'etcd');
  return known ? { nodeId, shardCount, logPlace } : undefined;
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    return value as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Whether a node can have this many shards: at most one per slot. */
export function isShardCount(count: number): boolean {
  return Number.isInteger(count) && count >= 1 && count <= 1024;
}

/** Flushed before anything else is made: the shard count decides where every key lives. */
async function writeIdentity(
  path: string,
  shardCount: number,
  logPlace: LogPlace,
): Promise<Identity> {
  const identity = { nodeId: `node-${randomBytes(8).toString('hex')}`, shardCount, logPlace };
  const text = `${JSON.stringify({ formatVersion: FORMAT_VERSION, ...identity }, null, 2)}\n`;
  await inDirectory(path, () => writeFlushed(dataDirectoryPaths(path).identity, text));
  return identity;
}

/**
 * Writes a new file, 0600, that is there whole or not at all, and flushes it and its directory.
 * Fails where the file exists. One writer at a time: the lock of the data directory sees to it.
 */
export async function writeFlushed(path: string, text: string): Promise<void> {
  const temporary = `${path}.tmp`;
  await rm(temporary, { force: true });
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await link(temporary, path);
  } finally {
    await rm(temporary);
  }
  await flushDirectory(dirname(path));
}

/** With those above it that are missing; their names are durable when it resolves. */
export async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = path; made !== dirname(first); made = dirname(made)) {
    await flushDirectory(dirname(made));
  }
}

/** Makes the names in a directory durable. */
export async function flushDirectory(path: string): Promise<void> {
  // Windows has no such operation.
  if (process.platform === 'win32') return;
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function inDirectory<T>(path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw error instanceof RaftsealError ? error : directoryError(path, error);
  }
}

function directoryError(path: string, cause: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_DATA_DIR',
    `the data directory ${path} cannot be used (${codeOf(cause) ?? 'unexpected error'}): it must ` +
      'be a directory that the user running the node can read and write',
    { cause },
  );
}
