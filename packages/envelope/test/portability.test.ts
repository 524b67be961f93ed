import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { bundle, inBareRealm } from './bundle.ts';

interface Conditions {
  readonly [condition: string]: Conditions | string;
}

describe('what a bundler takes in', () => {
  it.each([
    { platform: 'browser' },
    { platform: 'neutral' },
    { platform: 'browser', conditions: ['workerd', 'worker'] },
  ] as const)('for %o there is nothing of Node in it', async (options) => {
    const { code, inputs, externals } = await bundle({ ...options, format: 'esm' });
    expect(inputs).toContain('src/crypto-web.ts');
    expect(inputs).not.toContain('src/crypto-node.ts');
    expect(externals).toEqual([]);
    expect(code.match(/["'`]node:|\brequire\(|\bBuffer\b/g)).toBeNull();
  });

  it('for Node it is node:crypto, and nothing of @noble', async () => {
    const { inputs, externals } = await bundle({ platform: 'node', format: 'esm' });
    expect(inputs).toContain('src/crypto-node.ts');
    expect(externals).toEqual(['node:crypto']);
    expect(inputs.filter((input) => input.includes('@noble'))).toEqual([]);
  });

  it('the published conditions are those of the sources, without the source condition', () => {
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    const { '@raftseal/source': source, ...published } = manifest.imports['#crypto'];
    expect(manifest.publishConfig.imports['#crypto']).toEqual(published);
    expect(Object.keys(source as Conditions)).toEqual(Object.keys(published as Conditions));
    expect(Object.keys(published as Conditions)).toEqual(['node', 'default']);
  });
});

it('outside Node what is sealed and opened are plain byte arrays, made without Buffer', async () => {
  const { Keyring, NonceSequence, RaftSeal } = await inBareRealm();
  const keyring = new Keyring();
  keyring.add(1, 'raft', new Uint8Array(32).fill(1));
  const seal = new RaftSeal({ clusterId: new Uint8Array(16), keyring });
  const nonces = new NonceSequence({ writerId: 1, nonceEpoch: 1 });
  const place = { shardId: 0, index: 1n };
  const envelope: Uint8Array = seal.seal({ dekId: 1, nonces, ...place }, new Uint8Array(3));
  expect(envelope.constructor.name).toBe('Uint8Array');
  expect(seal.open(place, envelope).constructor.name).toBe('Uint8Array');
});
