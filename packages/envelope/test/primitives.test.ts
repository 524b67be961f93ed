import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as node from '../src/crypto-node.ts';
import * as web from '../src/crypto-web.ts';
import { bytes, hex, readVectors } from './vectors.ts';

const { aes256gcm, hmacSha256, hkdfSha256 } = readVectors('primitives');
const empty = new Uint8Array(0);

/** An envelope's room with the nonce in place, after `headroom` bytes. */
function room(iv: Uint8Array, plaintextBytes: number, headroom = 0): Uint8Array {
  const target = new Uint8Array(headroom + 34 + plaintextBytes);
  target.set(iv, headroom + 6);
  return target;
}

describe.each([
  ['node:crypto', node],
  ['@noble', web as unknown as typeof node],
])('%s', (_, backend) => {
  it.each(aes256gcm)('seals and opens the published AES-256-GCM $name', (vector) => {
    const key = backend.importKey(bytes(vector.key));
    const plaintext = bytes(vector.plaintext);
    const target = room(bytes(vector.iv), plaintext.length);
    backend.sealInto(key, bytes(vector.aad), plaintext, target, 0);
    expect(hex(target.subarray(18))).toBe(vector.ciphertext + vector.tag);
    const opened = backend.openFrom(key, bytes(vector.aad), target);
    expect(opened && hex(opened)).toBe(vector.plaintext);
    target[target.length - 1] = (target.at(-1) ?? 0) ^ 1;
    expect(backend.openFrom(key, bytes(vector.aad), target)).toBeUndefined();
  });

  it.each(hmacSha256)('computes the published HMAC of $name, however it is split', (vector) => {
    const mac = new backend.Mac(bytes(vector.key));
    const message = bytes(vector.message);
    for (let i = 0; i <= message.length; i++) {
      expect(hex(mac.of(message.subarray(0, i), message.subarray(i)))).toBe(vector.mac);
    }
  });

  it.each(hkdfSha256)('derives the published HKDF output of $name', (vector) => {
    const key = backend.importKey(bytes(vector.key));
    expect(hex(backend.deriveBytes(key, vector.label, vector.bytes))).toBe(vector.derived);
  });

  it('HAZARD TSH-07: a tag of 4, 8 or 12 to 15 bytes is refused, though its bytes are right', () => {
    for (const vector of aes256gcm) {
      const key = backend.importKey(bytes(vector.key));
      for (const tagBytes of [4, 8, 12, 13, 14, 15]) {
        const body = bytes(vector.ciphertext + vector.tag.slice(0, 2 * tagBytes));
        if (body.length < 16) continue;
        const envelope = room(bytes(vector.iv), body.length - 16);
        envelope.set(body, 18);
        expect(backend.openFrom(key, bytes(vector.aad), envelope)).toBeUndefined();
      }
    }
  });

  it('equal keys are equal, and a key with one other bit is not', () => {
    const raw = bytes('07'.repeat(32));
    const key = backend.importKey(raw);
    expect(backend.equalKeys(key, backend.importKey(raw))).toBe(true);
    for (let i = 0; i < 256; i++) {
      const other = Uint8Array.from(raw, (b, at) => (at === i >> 3 ? b ^ (1 << (i & 7)) : b));
      expect(backend.equalKeys(key, backend.importKey(other))).toBe(false);
    }
  });

  it('HAZARD TSH-09: an imported key is a copy', () => {
    const raw = bytes('07'.repeat(32));
    const key = backend.importKey(raw);
    const mac = new backend.Mac(raw);
    const before = hex(mac.of(empty, empty));
    raw.fill(0);
    expect(backend.equalKeys(key, backend.importKey(bytes('07'.repeat(32))))).toBe(true);
    expect(hex(mac.of(empty, empty))).toBe(before);
  });
});

describe('both backends', () => {
  const blob = fc.uint8Array({ maxLength: 300 });
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const iv = fc.uint8Array({ minLength: 12, maxLength: 12 });

  it('seal to the same bytes and open what the other sealed', () => {
    fc.assert(
      fc.property(key, iv, blob, blob, fc.nat(5), (rawKey, nonce, aad, plaintext, headroom) => {
        const [n, w] = [
          room(nonce, plaintext.length, headroom),
          room(nonce, plaintext.length, headroom),
        ];
        node.sealInto(node.importKey(rawKey), aad, plaintext, n, headroom);
        web.sealInto(web.importKey(rawKey), aad, plaintext, w, headroom);
        expect(hex(n)).toBe(hex(w));
        const [byNode, byWeb] = [
          node.openFrom(node.importKey(rawKey), aad, w.subarray(headroom)),
          web.openFrom(web.importKey(rawKey), aad, n.subarray(headroom)),
        ];
        expect(byNode && hex(byNode)).toBe(hex(plaintext));
        expect(byWeb && hex(byWeb)).toBe(hex(plaintext));
      }),
      { numRuns: 200 },
    );
  });

  it('compute the same MAC and derive the same bytes', () => {
    const long = fc.uint8Array({ maxLength: 1500, size: 'max' });
    fc.assert(
      fc.property(key, blob, long, fc.string(), (rawKey, prefix, message, label) => {
        expect(hex(new node.Mac(rawKey).of(prefix, message))).toBe(
          hex(new web.Mac(rawKey).of(prefix, message)),
        );
        expect(hex(node.deriveBytes(node.importKey(rawKey), label, 32))).toBe(
          hex(web.deriveBytes(web.importKey(rawKey), label, 32)),
        );
      }),
      // Shrinking so long a message would take minutes.
      { numRuns: 100, endOnFailure: true },
    );
  });
});
