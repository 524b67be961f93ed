import { describe, expect, it } from 'vitest';
import { Counter64 } from '../src/counter64.ts';
import { decodeNonce, NonceSequence } from '../src/index.ts';
import { hex, readVectors } from './vectors.ts';

const exhausted = expect.objectContaining({ code: readVectors('nonce').exhaustedCode });

function draw(nonces: NonceSequence): Uint8Array {
  const nonce = new Uint8Array(12);
  nonces.draw(nonce, 0);
  return nonce;
}

describe('a nonce sequence', () => {
  it('starts at counter 1, never at 0', () => {
    const nonces = new NonceSequence({ writerId: 0x0102, nonceEpoch: 0x0304 });
    expect(nonces.seals).toBe(0n);
    expect(hex(draw(nonces))).toBe('010203040000000000000001');
    expect(hex(draw(nonces))).toBe('010203040000000000000002');
    expect(nonces.seals).toBe(2n);
  });

  it('makes the first nonces of the vectors', () => {
    const first = readVectors('nonce').nonces.filter(({ counter }) => Number(counter) < 256);
    expect(first.length).toBeGreaterThan(4);
    for (const { writerId, nonceEpoch, counter, nonce } of first) {
      const nonces = new NonceSequence({ writerId, nonceEpoch });
      for (let i = 1; i < Number(counter); i++) draw(nonces);
      expect(hex(draw(nonces))).toBe(nonce);
    }
  });

  it('invariant 3: no nonce comes twice, in one sequence or over writers and epochs', () => {
    const seen = new Set<string>();
    for (const writerId of [1, 2, 0xffff]) {
      for (const nonceEpoch of [1, 2, 0xffff]) {
        const nonces = new NonceSequence({ writerId, nonceEpoch });
        for (let i = 0; i < 1000; i++) seen.add(hex(draw(nonces)));
      }
    }
    expect(seen.size).toBe(9000);
  });

  it('invariant 3: at the limit it refuses, and refuses for ever after', () => {
    const nonces = new NonceSequence({ writerId: 1, nonceEpoch: 1, sealsMax: 3n });
    const target = new Uint8Array(12);
    for (let i = 0; i < 3; i++) nonces.draw(target, 0);
    for (let i = 0; i < 5; i++) {
      expect(() => nonces.draw(target, 0)).toThrow(exhausted);
      expect(decodeNonce(target).counter).toBe(3n);
    }
    expect(nonces.seals).toBe(3n);
  });

  it('refuses at a lower limit until that is moved, and never allows more than sealsMax', () => {
    const nonces = new NonceSequence({ writerId: 1, nonceEpoch: 1, sealsMax: 3n });
    nonces.limitTo(1n);
    draw(nonces);
    expect(() => draw(nonces)).toThrow(exhausted);
    nonces.limitTo(0n);
    expect(() => draw(nonces)).toThrow(exhausted);
    nonces.limitTo(99n);
    draw(nonces);
    draw(nonces);
    expect(() => draw(nonces)).toThrow(exhausted);
    expect(nonces.seals).toBe(3n);
  });

  it('asks at the limit, says what the draw is for, and goes on where the limit was moved', () => {
    const asked: boolean[] = [];
    const nonces: NonceSequence = new NonceSequence({
      writerId: 1,
      nonceEpoch: 1,
      onLimit: (fromReserve) => {
        asked.push(fromReserve);
        if (fromReserve) nonces.limitTo(nonces.seals + 1n);
      },
    });
    nonces.limitTo(0n);
    expect(() => draw(nonces)).toThrow(exhausted);
    const nonce = new Uint8Array(12);
    nonces.draw(nonce, 0, true);
    expect(decodeNonce(nonce).counter).toBe(1n);
    expect(() => draw(nonces)).toThrow(exhausted);
    expect(asked).toEqual([false, true, false]);
  });

  it('allows 2^32 seals unless told otherwise', () => {
    expect(new NonceSequence({ writerId: 1, nonceEpoch: 1 }).sealsMax).toBe(2n ** 32n);
  });

  it('writes 12 bytes at the offset and leaves the others alone', () => {
    const target = new Uint8Array(20).fill(0xee);
    new NonceSequence({ writerId: 1, nonceEpoch: 2 }).draw(target, 3);
    expect(hex(target)).toBe(`eeeeee000100020000000000000001${'ee'.repeat(5)}`);
  });

  it('a target without room draws nothing', () => {
    const nonces = new NonceSequence({ writerId: 1, nonceEpoch: 1 });
    for (const offset of [-1, 1, 12]) {
      expect(() => nonces.draw(new Uint8Array(12), offset)).toThrow(RangeError);
    }
    expect(nonces.seals).toBe(0n);
  });

  it('HAZARD NON-09: an epoch that no process has claimed (0) is refused', () => {
    expect(() => new NonceSequence({ writerId: 1, nonceEpoch: 0 })).toThrow(RangeError);
  });

  it('refuses a writer, epoch or limit that does not fit', () => {
    for (const bad of [0, -1, 0x10000, 1.5, Number.NaN]) {
      expect(() => new NonceSequence({ writerId: bad, nonceEpoch: 1 })).toThrow(RangeError);
      expect(() => new NonceSequence({ writerId: 1, nonceEpoch: bad })).toThrow(RangeError);
    }
    for (const sealsMax of [0n, -1n, 2n ** 64n]) {
      expect(() => new NonceSequence({ writerId: 1, nonceEpoch: 1, sealsMax })).toThrow(RangeError);
    }
  });

  it('HAZARD TSH-04: a clone, such as one posted to a worker, cannot draw', () => {
    const clone = structuredClone(new NonceSequence({ writerId: 1, nonceEpoch: 1 }));
    expect(Object.getPrototypeOf(clone)).toBe(Object.prototype);
    expect(() => NonceSequence.prototype.draw.call(clone, new Uint8Array(12), 0)).toThrow(
      TypeError,
    );
  });
});

describe('the 64-bit counter', () => {
  it.each([
    2n ** 31n - 1n,
    2n ** 32n - 1n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 63n - 1n,
    2n ** 64n - 3n,
  ])('HAZARD NON-12: is exact past %d', (start) => {
    const counter = new Counter64({ start, limit: 2n ** 64n - 1n });
    expect(counter.value).toBe(start);
    for (const step of [1n, 2n]) {
      expect(counter.increment()).toBe(true);
      expect(counter.value).toBe(start + step);
      expect((BigInt(counter.high) << 32n) | BigInt(counter.low)).toBe(start + step);
    }
  });

  it('stops at 2^64 - 1 instead of wrapping', () => {
    const counter = new Counter64({ start: 2n ** 64n - 2n, limit: 2n ** 64n - 1n });
    expect(counter.increment()).toBe(true);
    expect(counter.increment()).toBe(false);
    expect(counter.increment()).toBe(false);
    expect(counter.value).toBe(2n ** 64n - 1n);
  });
});

describe('invariant 3: a sequence whose epoch is not registered yet', () => {
  const drawn = (nonces: NonceSequence): bigint => {
    const nonce = new Uint8Array(12);
    nonces.draw(nonce, 0);
    return decodeNonce(nonce).counter;
  };

  it('draws what it is given, out of reach of any count, and then counts from 1', () => {
    const given = [new Uint8Array(8), Uint8Array.of(0x7f, 1, 2, 3, 4, 5, 6, 7)];
    const randomBytes = (): Uint8Array => given.shift() ?? new Uint8Array(8);
    const nonces = new NonceSequence({ writerId: 1, nonceEpoch: 1, randomBytes });
    expect([drawn(nonces), drawn(nonces)]).toEqual([2n ** 63n, 0xff01020304050607n]);
    expect(nonces.seals).toBe(0n);
    nonces.registered();
    nonces.registered();
    expect([drawn(nonces), drawn(nonces), nonces.seals]).toEqual([1n, 2n, 2n]);
  });
});
