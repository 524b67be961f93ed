import { describe, expect, it } from 'vitest';
import { parseTransitUri } from '../src/vault-uri.ts';

describe('a vault-transit URI', () => {
  it.each([
    ['vault-transit:https://vault.example.org:8200/transit/keys/raftseal'],
    ['vault-transit:https://vault.example.org/team/a/transit/keys/raft.seal-1'],
    ['vault-transit:https://[2001:db8::1]:8200/transit/keys/k?namespace=team/a'],
    ['vault-transit:http://127.0.0.1:8200/transit/keys/raftseal'],
    ['vault-transit:http://[::1]:8200/transit/keys/raftseal'],
    ['vault-transit:http://localhost:8200/transit/keys/raftseal'],
  ])('%s names itself', (uri) => {
    expect(parseTransitUri(uri).kekUri).toBe(uri);
  });

  it('has one name for each way to write it', () => {
    const uri = 'vault-transit:HTTPS://Vault.Example.org:443/transit/keys/k?namespace=a/';
    expect(parseTransitUri(uri)).toMatchObject({
      kekUri: 'vault-transit:https://vault.example.org/transit/keys/k?namespace=a',
      mount: 'transit',
      name: 'k',
      namespace: 'a',
    });
  });

  it.each([
    ['', 'no address'],
    ['vault-transit:', 'no address'],
    ['vault-transit:transit/keys/raftseal', 'no address'],
    ['vault-transit:file:///transit/keys/raftseal', 'no address'],
    ['vault:https://host/transit/keys/raftseal', 'no address'],
    ['vault-transit:http://10.0.0.1:8200/transit/keys/raftseal', 'http would show'],
    ['vault-transit:http://127.evil.example/transit/keys/raftseal', 'http would show'],
    ['vault-transit:https://host/transit/raftseal', 'does not name a key'],
    ['vault-transit:https://host/keys/raftseal', 'does not name a key'],
    ['vault-transit:https://host/transit/keys/', 'does not name a key'],
    ['vault-transit:https://host/transit/keys/a/b', 'does not name a key'],
    ['vault-transit:https://host/transit/keys/a%2Fb', 'does not name a key'],
    ['vault-transit:https://host/transit/keys/-a', 'does not name a key'],
    ['vault-transit:https://host/transit/keys/k#x', 'a fragment'],
    ['vault-transit:https://host/transit/keys/k?ns=a', 'an unknown parameter ns'],
    ['vault-transit:https://host/transit/keys/k?namespace=', 'no name of a namespace'],
    ['vault-transit:https://host/transit/keys/k?namespace=a&namespace=b', 'no name of a namespace'],
    ['vault-transit:https://host/transit/keys/k?namespace=a%0Ab', 'no name of a namespace'],
  ])('is not %s', (uri, found) => {
    expect(() => parseTransitUri(uri)).toThrow(
      expect.objectContaining({
        code: 'RAFTSEAL_KEK_URI',
        message: expect.stringContaining(found),
      }),
    );
  });

  it('invariant 10: is not quoted where it holds a password', () => {
    const uri = 'vault-transit:https://me:hunter2@host/transit/keys/k';
    expect(() => parseTransitUri(uri)).toThrow(
      expect.objectContaining({
        code: 'RAFTSEAL_KEK_URI',
        message: expect.not.stringContaining('hunter2'),
      }),
    );
  });
});
