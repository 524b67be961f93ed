/** What a log is opened with, and how etcd is reached. */
import type { RaftsealError } from '@raftseal/interface';
import type { EtcdEvent } from './events.ts';

/** Largest payload: with its key and its value's header it fits into 1.5 MiB, etcd's default. */
export const PAYLOAD_BYTES_MAX: number = 1280 * 1024;

export interface EtcdAccess {
  /** One `http://host:port` or `https://host:port` for each member. */
  readonly endpoints: readonly string[];
  /** For https endpoints. Without `caPem`, the authorities that Node.js trusts. */
  readonly tls?: {
    readonly caPem?: string;
    readonly certificatePem?: string;
    readonly keyPem?: string;
  };
  /** Without it, etcd knows the node by the common name of its certificate, if it asks at all. */
  readonly user?: { readonly name: string; readonly password: string };
  /** How long one request may take; default 2000. A member that hangs is left after half of it. */
  readonly requestTimeoutMs?: number;
}

export interface EtcdLogOptions {
  readonly access: EtcdAccess;
  /** Every key of the log begins with it and a slash. */
  readonly prefix: string;
  /** Of this process alone among all that run. */
  readonly nodeId: string;
  readonly shardIds: readonly number[];
  /** What other nodes read of this one while it lives; `EtcdLog.publish` replaces it. */
  readonly presence?: Uint8Array;
  /** How long this node keeps its leaderships without contact; default 5000, least 2000. */
  readonly leaseTtlMs?: number;
  /** How much earlier it gives them up by its own clock; default 1000. */
  readonly leaseMarginMs?: number;
  /** Default 1 MiB, at most {@link PAYLOAD_BYTES_MAX}. */
  readonly payloadBytesMax?: number;
  /** Quota of the etcd members; default 2 GiB. Appends are refused before it is used up. */
  readonly spaceBytesMax?: number;
  /** What `compact` leaves for watchers that lag; default 60,000. */
  readonly compactAfterMs?: number;
  /** Called once where another process took over as this node; it never leads again. */
  readonly onDisplaced?: (error: RaftsealError) => void;
  /** Told what an operator may want to know. Must not throw. */
  readonly onEvent?: (event: EtcdEvent) => void;
}

export type CheckedAccess = Required<Omit<EtcdAccess, 'tls' | 'user'>> &
  Pick<EtcdAccess, 'tls' | 'user'>;

export interface CheckedOptions extends Required<Omit<EtcdLogOptions, 'access'>> {
  readonly access: CheckedAccess;
}

/** @throws RangeError, TypeError for what no log can be opened with. */
export function checkOptions(options: EtcdLogOptions): CheckedOptions {
  const checked: CheckedOptions = {
    access: checkAccess(options.access),
    prefix: checkPrefix(options.prefix),
    nodeId: options.nodeId,
    shardIds: options.shardIds,
    presence: options.presence ?? new Uint8Array(),
    leaseTtlMs: options.leaseTtlMs ?? 5_000,
    leaseMarginMs: options.leaseMarginMs ?? 1_000,
    payloadBytesMax: options.payloadBytesMax ?? 1024 * 1024,
    spaceBytesMax: options.spaceBytesMax ?? 2 * 1024 * 1024 * 1024,
    compactAfterMs: options.compactAfterMs ?? 60_000,
    onDisplaced: options.onDisplaced ?? (() => {}),
    onEvent: options.onEvent ?? (() => {}),
  };
  checkName('nodeId', checked.nodeId);
  if (new Set(checked.shardIds).size !== checked.shardIds.length) {
    throw new TypeError('a shard is named twice');
  }
  for (const shardId of checked.shardIds) checkShardId(shardId);
  checkRange('leaseTtlMs', checked.leaseTtlMs, 2_000, 3_600_000);
  checkRange('leaseMarginMs', checked.leaseMarginMs, 1, checked.leaseTtlMs / 2);
  checkRange('payloadBytesMax', checked.payloadBytesMax, 1, PAYLOAD_BYTES_MAX);
  checkRange('spaceBytesMax', checked.spaceBytesMax, 1024 * 1024, Number.MAX_SAFE_INTEGER);
  checkRange('compactAfterMs', checked.compactAfterMs, 0, Number.MAX_SAFE_INTEGER);
  return checked;
}

/** @throws RangeError, TypeError */
export function checkAccess(access: EtcdAccess): CheckedAccess {
  const { endpoints, tls, user, requestTimeoutMs = 2_000 } = access;
  if (endpoints.length === 0) throw new TypeError('etcd needs one endpoint at least');
  for (const endpoint of endpoints) checkEndpoint(endpoint);
  if ((tls?.certificatePem === undefined) !== (tls?.keyPem === undefined)) {
    throw new TypeError('a client certificate needs its key, and a key its certificate');
  }
  checkRange('requestTimeoutMs', requestTimeoutMs, 100, 600_000);
  return {
    endpoints,
    requestTimeoutMs,
    ...(tls === undefined ? {} : { tls }),
    ...(user === undefined ? {} : { user }),
  };
}

/** @throws TypeError */
export function checkPrefix(prefix: string): string {
  const isPlain = /^[\x21-\x7e]{1,200}$/.test(prefix) && !/^\/+$|\/$/.test(prefix);
  if (isPlain) return prefix;
  throw new TypeError('a prefix is 1 to 200 visible ASCII characters, and does not end with /');
}

/** @throws RangeError */
export function checkShardId(shardId: number): void {
  checkRange('a shard id', shardId, 0, 0xffffffff);
}

function checkName(what: string, name: string): void {
  if (/^[\x21-\x2e\x30-\x7e]{1,200}$/.test(name)) return;
  throw new TypeError(`${what} must be 1 to 200 visible ASCII characters without a slash`);
}

function checkEndpoint(endpoint: string): void {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const isPlain = url?.pathname === '/' && url.username === '' && url.search === '';
  if (isPlain && (url.protocol === 'http:' || url.protocol === 'https:')) return;
  throw new TypeError(`an endpoint is http://host:port or https://host:port, not ${endpoint}`);
}

function checkRange(what: string, value: number, lowest: number, highest: number): void {
  if (Number.isInteger(value) && value >= lowest && value <= highest) return;
  throw new RangeError(`${what} must be a whole number from ${lowest} to ${highest}, not ${value}`);
}
