import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkHeader } from '../src/header.ts';
import { decodeEnvelope, ENVELOPE_OVERHEAD_BYTES, encodeEnvelope } from '../src/index.ts';

const code = (name: string) => expect.objectContaining({ code: `RAFTSEAL_ENVELOPE_${name}` });

function envelopeBytes(version: number, flag: number, dekId: number, length = 40): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes[0] = version;
  bytes[1] = flag;
  new DataView(bytes.buffer).setUint32(2, dekId);
  return bytes;
}

const parts = fc.record({
  version: fc.constantFrom(1 as const, 2 as const),
  flag: fc.nat(255),
  dekId: fc.integer({ min: 1, max: 0xffff_ffff }),
  nonce: fc.uint8Array({ minLength: 12, maxLength: 12 }),
  body: fc.uint8Array({ minLength: 16, maxLength: 80 }),
});

describe('the envelope codec', () => {
  it('lays out version, flag, dekId, nonce and body, and reads them back', () => {
    expect(ENVELOPE_OVERHEAD_BYTES).toBe(34);
    fc.assert(
      fc.property(parts, (envelope) => {
        const bytes = encodeEnvelope(envelope);
        expect(bytes.length).toBe(18 + envelope.body.length);
        expect([bytes[0], bytes[1]]).toEqual([envelope.version, envelope.flag]);
        expect(new DataView(bytes.buffer).getUint32(2)).toBe(envelope.dekId);
        expect(bytes.subarray(6, 18)).toEqual(envelope.nonce);
        expect(decodeEnvelope(bytes)).toEqual(envelope);
      }),
    );
  });

  it('HAZARD ENV-17: DEK ids from 2^31 up stay unsigned', () => {
    for (const dekId of [0x7fff_ffff, 0x8000_0000, 0xfedc_ba98, 0xffff_ffff]) {
      expect(decodeEnvelope(envelopeBytes(2, 0, dekId)).dekId).toBe(dekId);
      expect(checkHeader(envelopeBytes(2, 0, dekId), 2)).toBe(dekId);
    }
  });

  it('refuses every length from 0 to 33 before it looks at the version', () => {
    for (let length = 0; length < 34; length++) {
      expect(() => decodeEnvelope(new Uint8Array(length).fill(9))).toThrow(code('TOO_SHORT'));
      expect(() => checkHeader(new Uint8Array(length).fill(9), 2)).toThrow(code('TOO_SHORT'));
    }
  });

  it('refuses every version but 1 and 2', () => {
    for (let version = 0; version < 256; version++) {
      const bytes = envelopeBytes(version, 0, 1);
      if (version === 1 || version === 2) expect(decodeEnvelope(bytes).version).toBe(version);
      else expect(() => decodeEnvelope(bytes)).toThrow(code('VERSION'));
      if (version !== 2) expect(() => checkHeader(bytes, 2)).toThrow(code('VERSION'));
      if (version !== 1) expect(() => checkHeader(bytes, 1)).toThrow(code('VERSION'));
    }
  });

  it('HAZARD ENV-06: a tool may read any flag, what opens refuses all but 0', () => {
    for (let flag = 1; flag < 256; flag++) {
      expect(decodeEnvelope(envelopeBytes(2, flag, 1)).flag).toBe(flag);
      expect(() => checkHeader(envelopeBytes(2, flag, 1), 2)).toThrow(code('FLAG'));
      expect(() => checkHeader(envelopeBytes(1, flag, 1), 1)).toThrow(code('FLAG'));
    }
  });

  it('checks length, version, flag and dekId in this order', () => {
    expect(() => checkHeader(envelopeBytes(9, 9, 0, 33), 2)).toThrow(code('TOO_SHORT'));
    expect(() => checkHeader(envelopeBytes(9, 9, 0), 2)).toThrow(code('VERSION'));
    expect(() => checkHeader(envelopeBytes(2, 9, 0), 2)).toThrow(code('FLAG'));
    expect(() => checkHeader(envelopeBytes(2, 0, 0), 2)).toThrow(code('RESERVED_DEK_ID'));
  });

  it('HAZARD TSH-09: what it reads shares no memory with the input, be it a pooled Buffer', () => {
    const bytes = Buffer.from(envelopeBytes(2, 0, 1));
    const { nonce, body } = decodeEnvelope(bytes);
    bytes.fill(0xff);
    expect([...nonce, ...body].every((byte) => byte === 0)).toBe(true);
    expect([nonce.buffer, body.buffer]).not.toContain(bytes.buffer);
  });

  it('does not encode what it would not decode', () => {
    const good = {
      version: 2,
      flag: 0,
      dekId: 1,
      nonce: new Uint8Array(12),
      body: new Uint8Array(16),
    } as const;
    expect(() => encodeEnvelope({ ...good, version: 3 as 2 })).toThrow(code('VERSION'));
    expect(() => encodeEnvelope({ ...good, body: new Uint8Array(15) })).toThrow(code('TOO_SHORT'));
    expect(() => encodeEnvelope({ ...good, dekId: 0 })).toThrow(code('RESERVED_DEK_ID'));
    expect(() => encodeEnvelope({ ...good, dekId: -1 })).toThrow(RangeError);
    expect(() => encodeEnvelope({ ...good, dekId: 2 ** 32 })).toThrow(RangeError);
    expect(() => encodeEnvelope({ ...good, flag: 256 })).toThrow(RangeError);
    expect(() => encodeEnvelope({ ...good, nonce: new Uint8Array(11) })).toThrow(RangeError);
  });
});
