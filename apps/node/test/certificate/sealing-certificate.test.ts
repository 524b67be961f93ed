import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { codeOf } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../src/certificate/canonical-json.ts';
import {
  checkCertificate,
  fingerprintOf,
  signStatement,
} from '../../src/certificate/sealing-certificate.ts';
import type { Statement } from '../../src/certificate/statement.ts';

const INVALID = 'RAFTSEAL_NODE_SEALING_CERTIFICATE';
const seed = Buffer.alloc(32, 7);

const unsigned: Omit<Statement, 'publicKey'> = {
  format: 'raftseal sealing certificate',
  version: 1,
  clusterId: '00112233445566778899aabbccddeeff',
  issuedAt: '2026-01-02T03:04:05.000Z',
  issuedBy: 'node-1',
  release: '1.2.3',
  sealedOnlyIndex: '9007199254740993',
  keys: [
    { dekId: 17, purpose: 'raft', use: 'active' },
    { dekId: 18, purpose: 'storage', use: 'retired' },
  ],
  members: [
    {
      nodeId: 'node-1',
      role: 'voter',
      release: '1.2.3',
      logs: [
        {
          shardId: 0,
          firstIndex: '5',
          lastIndex: '9',
          cutoverIndex: '3',
          cleartext: 0,
          sealed: { 17: 5 },
        },
      ],
      stores: [{ shardId: 0, cleartext: 0, sealed: { 19: 2, 4000000000: 7 } }],
      files: [{ path: 'keys/keys.raftseal', bytes: 658, content: 'sidecar' }],
    },
  ],
  problems: [],
};

const text = signStatement(unsigned, seed);

function codeOfCheck(candidate: string, fingerprint?: string): string | undefined {
  try {
    checkCertificate(candidate, fingerprint);
    return 'valid';
  } catch (error) {
    return codeOf(error);
  }
}

describe('a sealing certificate', () => {
  it('is read as it was stated, and names its signer', () => {
    const { statement, fingerprint } = checkCertificate(text);
    const { publicKey, ...stated } = statement;
    expect(stated).toEqual(unsigned);
    expect(publicKey).toMatch(/^[0-9a-f]{64}$/);
    expect(fingerprint).toBe(fingerprintOf(seed));
    expect(signStatement(unsigned, seed)).toBe(text);
  });

  it('is checked by whoever knows Ed25519 and the rule of its bytes', () => {
    const { signature, statement } = JSON.parse(text) as {
      signature: string;
      statement: Statement;
    };
    const bytes = text.slice(text.indexOf('"statement":') + '"statement":'.length, -2);
    expect(canonicalJson(statement)).toBe(bytes);
    const x = Buffer.from(statement.publicKey, 'hex').toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    expect(verify(null, Buffer.from(bytes), key, Buffer.from(signature, 'hex'))).toBe(true);
  });

  it('invariant 7: is refused wherever a bit of its file is flipped', () => {
    const bytes = Buffer.from(text);
    const bits = fc.integer({ min: 0, max: bytes.length * 8 - 1 });
    fc.assert(
      fc.property(bits, (bit) => {
        const flipped = Buffer.from(bytes);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(codeOfCheck(flipped.toString('utf8')), `bit ${bit}`).toBe(INVALID);
      }),
      { numRuns: 400 },
    );
  });

  it('is refused cut short, lengthened, or written in another way', () => {
    for (let length = 0; length < text.length; length += 13) {
      expect(codeOfCheck(text.slice(0, length)), `length ${length}`).toBe(INVALID);
    }
    const { signature, statement } = JSON.parse(text) as Record<string, unknown>;
    const others = [
      `${text}\n`,
      text.trimEnd(),
      ` ${text}`,
      JSON.stringify({ statement, signature }),
      JSON.stringify({ signature, statement }, null, 2),
      `${canonicalJson({ signature, statement, more: 1 })}\n`,
      `${canonicalJson({ signature: String(signature).toUpperCase(), statement })}\n`,
      text.replace('"problems":[]', '"problems":[],"problems":[]'),
      '[]',
      'null\n',
    ];
    for (const other of others) expect(codeOfCheck(other), other.slice(0, 40)).toBe(INVALID);
  });

  it('is another one for another key: who knows the fingerprint notices', () => {
    const forged = signStatement(unsigned, randomBytes(32));
    expect(codeOfCheck(forged)).toBe('valid');
    expect(codeOfCheck(forged, fingerprintOf(seed))).toBe(INVALID);
    expect(codeOfCheck(text, fingerprintOf(seed).toUpperCase())).toBe('valid');
    expect(codeOfCheck(text, 'no fingerprint')).toBe('RAFTSEAL_NODE_OPTION');
    const { statement } = checkCertificate(forged);
    const { signature } = JSON.parse(text) as Record<string, unknown>;
    expect(codeOfCheck(`${canonicalJson({ signature, statement })}\n`)).toBe(INVALID);
  });

  it('of another version, or another kind, is not taken for one', () => {
    const later = { ...unsigned, version: 2 } as unknown as Statement;
    expect(() => signStatement(later, seed)).toThrow('it is of version 2, and 1 is known');
    const other = { ...unsigned, format: 'other' } as unknown as Statement;
    expect(() => signStatement(other, seed)).toThrow('it states something else');
  });
});

describe('canonical JSON', () => {
  it('is one text for one value, whatever the order of its members', () => {
    expect(canonicalJson({ b: [1, null, true], a: 'é"\n', '10': 1, '9': 2 })).toBe(
      '{"10":1,"9":2,"a":"é\\"\\n","b":[1,null,true]}',
    );
  });

  it.each([1.5, Number.NaN, -0, 2 ** 53, undefined, 1n, '\ud800'])('refuses %s', (value) => {
    expect(() => canonicalJson({ value })).toThrow(TypeError);
  });
});
