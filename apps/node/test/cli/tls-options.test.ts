import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { type TlsOptions, tlsOf, withTls } from '../../src/cli/tls-options.ts';

function parse(...args: string[]) {
  return tlsOf(withTls(new Command('start')).parse(args, { from: 'user' }).opts<TlsOptions>());
}

describe('the options of TLS', () => {
  it('leave it off where none is given', () => expect(parse()).toBeUndefined());

  it('take a certificate with its key, and a CA for clients', () => {
    const own = { certificatePath: 'c', keyPath: 'k' };
    expect(parse('--tls-cert', 'c', '--tls-key', 'k')).toEqual(own);
    expect(parse('--tls-cert', 'c', '--tls-key', 'k', '--tls-ca', 'a')).toEqual({
      ...own,
      clientCaPath: 'a',
    });
  });

  it.each([['--tls-cert'], ['--tls-key'], ['--tls-ca'], ['--tls-cert', '--tls-ca']])(
    'are refused with %s alone',
    (...names) => {
      expect(() => parse(...names.flatMap((name) => [name, 'x']))).toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_NODE_OPTION' }),
      );
    },
  );
});
