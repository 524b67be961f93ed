/** What services answer, judged and made fit to be shown. */
import { describe, expect, it } from 'vitest';
import {
  base64Of,
  bytesOfBase64,
  connectionFailureOf,
  isTransientStatus,
  quoted,
  retryAfterMsOf,
} from '../src/index.ts';

describe('a status', () => {
  it('is transient for throttling and faults, and for nothing else', () => {
    const transient = [408, 429, 500, 502, 503, 504];
    for (const status of transient) expect(isTransientStatus(status)).toBe(true);
    for (const status of [200, 301, 400, 401, 403, 404, 409, 501, 505]) {
      expect(isTransientStatus(status)).toBe(false);
    }
  });

  it.each([
    ['5', 5_000],
    [' 0 ', 0],
    ['Wed, 21 Oct 2026 07:28:00 GMT', 0],
    ['-1', 0],
    ['99999999', 0],
    [undefined, 0],
    [null, 0],
  ])('comes with Retry-After %o: %d ms', (header, ms) => {
    expect(retryAfterMsOf(header)).toBe(ms);
  });
});

describe('a lost connection', () => {
  it('is found in the causes of an error', () => {
    const reset = Object.assign(new Error('reset'), { code: 'ECONNRESET' });
    expect(connectionFailureOf(reset)).toBe('ECONNRESET');
    expect(connectionFailureOf(new Error('fetch failed', { cause: reset }))).toBe('ECONNRESET');
  });

  it('is not what a certificate or a program is at fault for', () => {
    const expired = Object.assign(new Error('expired'), { code: 'CERT_HAS_EXPIRED' });
    const endless = new Error('round and round');
    endless.cause = endless;
    for (const error of [expired, endless, new TypeError('x'), 'ECONNRESET', undefined]) {
      expect(connectionFailureOf(error)).toBeUndefined();
    }
  });
});

describe('a quotation', () => {
  it('is one short line', () => {
    expect(quoted(' 1 error occurred:\n\t* permission denied\u001b[31m\n ')).toBe(
      '1 error occurred: * permission denied [31m',
    );
    expect(quoted('x'.repeat(1_000))).toHaveLength(203);
  });

  it('invariant 10: holds nothing of what was sent in secret', () => {
    expect(quoted('bad request: {"plaintext":"c2VjcmV0"}', ['', 'c2VjcmV0'])).toBe(
      'an answer that repeats what was sent, which is not shown here',
    );
  });
});

describe('base64', () => {
  it('is read back as it was written', () => {
    for (let length = 0; length < 40; length++) {
      const bytes = Buffer.alloc(length, 0xfb);
      expect(bytesOfBase64(base64Of(bytes.subarray(0)))).toEqual(bytes);
    }
  });

  it.each(['A', 'AAA', 'AB==', 'AA=', '****', 'AAAA\n', '-_-_', 'AA AA'])('is not %j', (text) => {
    expect(bytesOfBase64(text)).toBeUndefined();
  });
});
