import { describe, expect, it } from 'vitest';
import { crc32c } from '../src/crc32c.ts';

describe('CRC-32C', () => {
  it.each([
    ['nothing', Buffer.alloc(0), 0],
    ['the check value', Buffer.from('123456789'), 0xe306_9283],
    // RFC 3720 appendix B.4, whose bytes are printed in the order of the wire.
    ['32 bytes of zeros', Buffer.alloc(32), 0x8a91_36aa],
    ['32 bytes of ones', Buffer.alloc(32, 0xff), 0x62a8_ab43],
    ['32 bytes that rise', Buffer.from(Array.from({ length: 32 }, (_, at) => at)), 0x46dd_794e],
    [
      '32 bytes that fall',
      Buffer.from(Array.from({ length: 32 }, (_, at) => 31 - at)),
      0x113f_db5c,
    ],
  ])('of %s', (_name, bytes, expected) => {
    expect(crc32c(bytes)).toBe(expected);
  });
});
