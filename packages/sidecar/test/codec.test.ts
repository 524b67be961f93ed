import { createHmac, hkdfSync, randomBytes } from 'node:crypto';
import type { ErrorCode, KeyState } from '@raftseal/interface';
import { codeOf } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeSidecar, deriveMacKey, encodeSidecar, SIDECAR_BYTES_MAX } from '../src/index.ts';
import { keyStates, mac, macDek, sampleState, withRecord } from './key-states.ts';

const file = encodeSidecar(sampleState(), mac);

/** The code with which a file is refused by decode or verify; undefined where it is accepted. */
function refusalCode(bytes: Uint8Array, macKey: Uint8Array = mac.macKey): string | undefined {
  try {
    decodeSidecar(bytes).verify(macKey);
    return undefined;
  } catch (error) {
    return codeOf(error) ?? `uncoded: ${String(error)}`;
  }
}

/** A file with another payload under a right header and MAC. */
function framed(payload: Uint8Array, macKey: Uint8Array = mac.macKey): Buffer {
  const header = Buffer.from('RSSC\0\x01\0\0\0\0', 'latin1');
  header.writeUInt32BE(payload.length, 6);
  const body = Buffer.concat([header, payload]);
  return Buffer.concat([body, createHmac('sha256', macKey).update(body).digest()]);
}

describe('encodeSidecar and decodeSidecar', () => {
  it('give back every state that may be on disk, 64-bit indexes exact (HAZARD SC-20)', () => {
    fc.assert(
      fc.property(keyStates, fc.uint8Array({ minLength: 32, maxLength: 32 }), (state, macKey) => {
        const dekId = state.activeDekId.storage;
        const decoded = decodeSidecar(encodeSidecar(state, { dekId, macKey }));
        expect(decoded.macDekId).toBe(dekId);
        expect(decoded.verify(macKey)).toEqual(state);
      }),
      { numRuns: 200 },
    );
  });

  it('give equal bytes for equal states, whatever the order of their maps', () => {
    const reversed = <Value>(map: ReadonlyMap<number, Value>) => new Map([...map].reverse());
    fc.assert(
      fc.property(keyStates, (state) => {
        const shuffled: KeyState = {
          ...state,
          appliedIndex: reversed(state.appliedIndex),
          cutoverIndex: reversed(state.cutoverIndex),
          keys: reversed(state.keys),
          writers: reversed(state.writers),
        };
        const macOf = { ...mac, dekId: state.activeDekId.raft };
        expect(encodeSidecar(shuffled, macOf).equals(encodeSidecar(state, macOf))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('write the header, payload and MAC where the format says', () => {
    expect(file.subarray(0, 6).toString('latin1')).toBe('RSSC\0\x01');
    expect(file.readUInt32BE(6)).toBe(file.length - 42);
    const macKey = Buffer.from(hkdfSync('sha256', macDek, '', 'raftseal sidecar mac key v1', 32));
    const expected = createHmac('sha256', macKey).update(file.subarray(0, -32)).digest();
    expect(file.subarray(-32).equals(expected)).toBe(true);
  });

  it('leave the state and the bytes to the caller: neither is kept', () => {
    const bytes = Buffer.from(file);
    const decoded = decodeSidecar(bytes);
    bytes.fill(0xff);
    expect(decoded.verify(mac.macKey)).toEqual(sampleState());
  });

  it('refuse a state that may not be written, as the caller’s bug', () => {
    const empty = sampleState({ keys: new Map(), clusterId: undefined });
    expect(() => encodeSidecar(empty, mac)).toThrow(TypeError);
    expect(() => encodeSidecar(sampleState(), { ...mac, dekId: 5 })).toThrow(TypeError);
    expect(() => encodeSidecar(sampleState(), { ...mac, macKey: randomBytes(31) })).toThrow(
      RangeError,
    );
    expect(() => deriveMacKey(randomBytes(31))).toThrow(RangeError);
  });

  it('refuse a state that would exceed the largest size', () => {
    const wraps = [{ kekUri: 'a:', bytes: new Uint8Array(16_384) }];
    const keys = new Map(sampleState().keys);
    for (let dekId = 1; dekId <= 260; dekId++) {
      keys.set(dekId, { purpose: 'raft', wraps, createdAtMs: 0, nonceEpoch: 0 });
    }
    expect(() => encodeSidecar(sampleState({ keys }), mac)).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_SIDECAR_TOO_LARGE' }),
    );
  });
});

describe('decodeSidecar and verify', () => {
  it('invariant 7: refuse every flip of one bit, with a code', () => {
    const seen = new Set<string>();
    for (let bit = 0; bit < 8 * file.length; bit++) {
      const flipped = Buffer.from(file);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const code = refusalCode(flipped);
      expect(code, `bit ${bit}`).toMatch(/^RAFTSEAL_SIDECAR_/);
      seen.add(`${code}`);
    }
    expect([...seen].toSorted()).toEqual([
      'RAFTSEAL_SIDECAR_LENGTH',
      'RAFTSEAL_SIDECAR_MAC',
      'RAFTSEAL_SIDECAR_MAGIC',
      'RAFTSEAL_SIDECAR_PAYLOAD',
      'RAFTSEAL_SIDECAR_STATE',
      'RAFTSEAL_SIDECAR_VERSION',
    ]);
  });

  it('invariant 7: refuse every truncation and every extension', () => {
    for (let length = 0; length < file.length; length++) {
      expect(refusalCode(file.subarray(0, length))).toBe('RAFTSEAL_SIDECAR_LENGTH');
    }
    expect(refusalCode(Buffer.concat([file, Buffer.alloc(1)]))).toBe('RAFTSEAL_SIDECAR_LENGTH');
    expect(refusalCode(Buffer.concat([file, file]))).toBe('RAFTSEAL_SIDECAR_LENGTH');
  });

  it('refuse what is over-long before reading it', () => {
    const huge = Buffer.alloc(SIDECAR_BYTES_MAX + 1);
    file.copy(huge);
    expect(refusalCode(huge)).toBe('RAFTSEAL_SIDECAR_TOO_LARGE');
  });

  it('SC-07: refuse versions 0, 2 and up', () => {
    for (const version of [0, 2, 3, 0x0100, 0xffff]) {
      const other = Buffer.from(file);
      other.writeUInt16BE(version, 4);
      expect(refusalCode(other)).toBe('RAFTSEAL_SIDECAR_VERSION');
    }
  });

  it('HAZARD SC-24: refuse a changed epoch, active id, index or flag', () => {
    const changes: KeyState[] = [
      withRecord(0x2000_0002, { nonceEpoch: 2 }),
      withRecord(0x2000_0002, { createdAtMs: 1 }),
      sampleState({ activeDekId: { ...sampleState().activeDekId, raft: 0x2000_0001 } }),
      sampleState({ cutoverIndex: new Map() }),
      sampleState({ appliedIndex: new Map([[0, 1n]]) }),
      sampleState({ storageIndex: 13n }),
      sampleState({ sealedOnlyIndex: undefined }),
      sampleState({ retired: new Map() }),
      sampleState({ backups: new Map() }),
      sampleState({ cutoverIntent: undefined }),
      sampleState({ writers: new Map([[1, 'node-b']]) }),
      sampleState({ generation: 8n }),
      sampleState({ nodeId: 'node-b' }),
      sampleState({ clusterId: new Uint8Array(16) }),
    ];
    for (const changed of changes) {
      const forged = encodeSidecar(changed, mac);
      file.subarray(-32).copy(forged, forged.length - 32);
      expect(refusalCode(forged)).toBe('RAFTSEAL_SIDECAR_MAC');
    }
  });

  it('HAZARD KEK-07: refuse wraps that were swapped between two ids', () => {
    const swapped = Buffer.from(file);
    const [first, second] = [Buffer.alloc(60, 0x21), Buffer.alloc(60, 0x22)];
    const [at, bt] = [file.indexOf(first), file.indexOf(second)];
    second.copy(swapped, at);
    first.copy(swapped, bt);
    expect(decodeSidecar(swapped).state.keys.get(0x2000_0001)?.wraps[0]?.bytes).toEqual(
      Uint8Array.from(second),
    );
    expect(refusalCode(swapped)).toBe('RAFTSEAL_SIDECAR_MAC');
  });

  it('refuse the MAC of another DEK or of the DEK itself, and a MAC key of another length', () => {
    expect(refusalCode(file, deriveMacKey(randomBytes(32)))).toBe('RAFTSEAL_SIDECAR_MAC');
    expect(refusalCode(file, macDek)).toBe('RAFTSEAL_SIDECAR_MAC');
    expect(() => decodeSidecar(file).verify(randomBytes(16))).toThrow(RangeError);
  });

  it('refuse payloads of any other bytes with a code, authenticated or not', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (payload) => {
        expect(refusalCode(framed(payload))).toBe('RAFTSEAL_SIDECAR_PAYLOAD');
      }),
      { numRuns: 2_000 },
    );
  });

  it('refuse any byte of the payload replaced, though the MAC were right', () => {
    const payload = file.subarray(10, -32);
    const accepted: ErrorCode[] = ['RAFTSEAL_SIDECAR_PAYLOAD', 'RAFTSEAL_SIDECAR_STATE'];
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: payload.length - 1 }),
        fc.integer({ min: 0, max: 255 }),
        (at, byte) => {
          const changed = Buffer.from(payload);
          changed[at] = byte;
          const code = refusalCode(framed(changed));
          // Many bytes are free content; what is refused is refused with a code, never a crash.
          if (code !== undefined) expect(accepted).toContain(code);
        },
      ),
      { numRuns: 3_000 },
    );
  });
});
