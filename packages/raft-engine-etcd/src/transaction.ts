/** The parts that transactions are made of here. */
import {
  type Compare,
  compareResult,
  compareTarget,
  type KeyValue,
  type RequestOp,
  type ResponseOp,
} from './messages.ts';

/** The key does not exist. */
export function isAbsent(key: Uint8Array): Compare {
  return { result: compareResult.equal, target: compareTarget.version, key, version: 0 };
}

/**
 * The key exists since this revision.
 * @param revision not 0: that would hold where there is no key.
 */
export function isCreatedAt(key: Uint8Array, revision: bigint): Compare {
  if (revision <= 0n) throw new RangeError(`no key is created at revision ${revision}`);
  const createRevision = revision.toString();
  return { result: compareResult.equal, target: compareTarget.create, key, createRevision };
}

/** The key exists, and was changed last at this revision. */
export function isChangedAt(key: Uint8Array, revision: bigint): Compare {
  if (revision <= 0n) throw new RangeError(`no key is changed at revision ${revision}`);
  const modRevision = revision.toString();
  return { result: compareResult.equal, target: compareTarget.mod, key, modRevision };
}

/** The key exists with this value. */
export function holds(key: Uint8Array, value: Uint8Array): Compare {
  return { result: compareResult.equal, target: compareTarget.value, key, value };
}

/** @param lease the key goes with it. */
export function put(key: Uint8Array, value: Uint8Array, lease?: string): RequestOp {
  return { requestPut: { key, value, ...(lease === undefined ? {} : { lease }) } };
}

export function remove(key: Uint8Array, rangeEnd?: Uint8Array): RequestOp {
  return { requestDeleteRange: { key, ...(rangeEnd === undefined ? {} : { rangeEnd }) } };
}

export function get(key: Uint8Array): RequestOp {
  return { requestRange: { key } };
}

/** What a `get` of one key has found. */
export function foundBy(response: ResponseOp | undefined): KeyValue | undefined {
  return response?.responseRange?.kvs[0];
}
