/**
 * The bytes of a sidecar file (integers big-endian):
 *
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 4 | magic `RSSC` |
 * | 4 | 2 | format version, 1 |
 * | 6 | 4 | payload length n |
 * | 10 | n | payload: see document.ts |
 * | 10+n | 32 | HMAC-SHA-256 (RFC 2104) of everything before it |
 *
 * The MAC key derives (HKDF-SHA-256, RFC 5869) from one of the DEKs that the payload holds
 * wrapped, so a reader decodes first, unwraps that DEK, and only then knows whether the file is
 * the one that was written: what is decoded stays {@link UnverifiedSidecar} until `verify`.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { DEK_BYTES, type KeyState, RaftsealError } from '@raftseal/interface';
import { packDocument, unpackDocument } from './document.ts';
import { stateProblem } from './state-rules.ts';

/** Largest sidecar file: far above the keys of any cluster, far below what hurts to read. */
export const SIDECAR_BYTES_MAX: number = 4 * 1024 * 1024;

export const SIDECAR_FORMAT_VERSION = 1;

const MAGIC = Buffer.from('RSSC', 'latin1');
const HEADER_BYTES = 10;
const MAC_BYTES = 32;
const MAC_KEY_BYTES = 32;
const MAC_KEY_LABEL = 'raftseal sidecar mac key v1';

/** Which key the MAC is made with. */
export interface SidecarMac {
  /** The DEK that `macKey` derives from; one of the state's keys. */
  readonly dekId: number;
  /** 32 bytes, from {@link deriveMacKey}. Not kept. */
  readonly macKey: Uint8Array;
}

/** A decoded sidecar that may still have been changed by someone else. */
export interface UnverifiedSidecar {
  /** Well-formed and possible, but not authenticated. */
  readonly state: KeyState;
  /** The DEK whose unwrapped bytes give the MAC key. */
  readonly macDekId: number;
  /**
   * @param macKey 32 bytes, derived from DEK `macDekId`.
   * @returns `state`, now authenticated.
   * @throws RAFTSEAL_SIDECAR_MAC
   */
  verify(macKey: Uint8Array): KeyState;
}

/**
 * The MAC key that belongs to a DEK.
 * @param dek 32 bytes; stays the caller's.
 * @returns 32 bytes that the caller owns and wipes.
 */
export function deriveMacKey(dek: Uint8Array): Buffer {
  if (dek.length !== DEK_BYTES) throw new RangeError(`a DEK has 32 bytes, not ${dek.length}`);
  return Buffer.from(hkdfSync('sha256', dek, new Uint8Array(0), MAC_KEY_LABEL, MAC_KEY_BYTES));
}

/**
 * The file content for a state. Equal states, ids and keys give equal bytes.
 * @throws TypeError for a state that may not be on disk; RAFTSEAL_SIDECAR_TOO_LARGE.
 */
export function encodeSidecar(state: KeyState, { dekId, macKey }: SidecarMac): Buffer {
  const problem = stateProblem(state);
  if (problem !== undefined) throw new TypeError(`this key state may not be written: ${problem}`);
  if (!state.keys.has(dekId)) throw new TypeError(`the MAC's DEK ${dekId} is not among the keys`);
  const payload = packDocument({ state, macDekId: dekId });
  const byteLength = HEADER_BYTES + payload.length + MAC_BYTES;
  if (byteLength > SIDECAR_BYTES_MAX) throw tooLarge(byteLength);
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt16BE(SIDECAR_FORMAT_VERSION, 4);
  header.writeUInt32BE(payload.length, 6);
  const body = Buffer.concat([header, payload]);
  return Buffer.concat([body, mac(body, macKey)]);
}

/**
 * Decodes a file. Nothing of `bytes` is kept but a copy.
 * @throws RAFTSEAL_SIDECAR_TOO_LARGE, _MAGIC, _VERSION, _LENGTH, _PAYLOAD, _STATE
 */
export function decodeSidecar(bytes: Uint8Array): UnverifiedSidecar {
  const file = Buffer.from(bytes);
  const payload = framedPayload(file);
  const { state, macDekId } = unpackDocument(payload);
  const problem = stateProblem(state);
  if (problem !== undefined) throw impossible(problem);
  if (!state.keys.has(macDekId))
    throw impossible(`the MAC's DEK ${macDekId} is not among the keys`);
  return {
    state,
    macDekId,
    verify(macKey) {
      const expected = mac(file.subarray(0, -MAC_BYTES), macKey);
      if (timingSafeEqual(expected, file.subarray(-MAC_BYTES))) return state;
      throw new RaftsealError(
        'RAFTSEAL_SIDECAR_MAC',
        `expected the MAC under DEK ${macDekId}; found another: the file was changed or belongs ` +
          'to other keys. Restore the whole data directory.',
      );
    },
  };
}

/** The payload of a file whose frame is right. */
function framedPayload(file: Buffer): Buffer {
  if (file.length > SIDECAR_BYTES_MAX) throw tooLarge(file.length);
  if (file.length < HEADER_BYTES + MAC_BYTES) {
    throw wrongLength(`at least ${HEADER_BYTES + MAC_BYTES}`, file.length);
  }
  if (!file.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new RaftsealError(
      'RAFTSEAL_SIDECAR_MAGIC',
      'expected a file that starts with RSSC; found another. Check the path of the sidecar.',
    );
  }
  const version = file.readUInt16BE(4);
  if (version !== SIDECAR_FORMAT_VERSION) {
    throw new RaftsealError(
      'RAFTSEAL_SIDECAR_VERSION',
      `expected format version ${SIDECAR_FORMAT_VERSION}; found ${version}. ` +
        'Start the release that wrote the file, or a later one.',
    );
  }
  const expected = HEADER_BYTES + file.readUInt32BE(6) + MAC_BYTES;
  if (file.length !== expected) throw wrongLength(`${expected}`, file.length);
  return file.subarray(HEADER_BYTES, -MAC_BYTES);
}

function mac(body: Uint8Array, macKey: Uint8Array): Buffer {
  if (macKey.length !== MAC_KEY_BYTES) {
    throw new RangeError(`a MAC key has ${MAC_KEY_BYTES} bytes, not ${macKey.length}`);
  }
  return createHmac('sha256', macKey).update(body).digest();
}

function wrongLength(expected: string, found: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_SIDECAR_LENGTH',
    `expected a sidecar of ${expected} bytes; found ${found}. ` +
      'Restore the whole data directory.',
  );
}

/** @internal */
export function tooLarge(found: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_SIDECAR_TOO_LARGE',
    `expected a sidecar of at most ${SIDECAR_BYTES_MAX} bytes; found ${found}. ` +
      'Retire keys that nothing needs, or check the path.',
  );
}

function impossible(problem: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_SIDECAR_STATE',
    `expected a possible key state; found that ${problem}. Restore the whole data directory.`,
  );
}
