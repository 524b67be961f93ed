import { RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { parsePkcs11Uri } from '../src/uri.ts';

const query = '?module-path=/usr/lib/module.so&pin-source=file:/etc/pin';

function refusalOf(uri: string): RaftsealError {
  try {
    parsePkcs11Uri(uri);
  } catch (error) {
    if (error instanceof RaftsealError) return error;
    throw error;
  }
  throw new Error(`${uri} was not refused`);
}

describe('parsePkcs11Uri', () => {
  it('reads token, key, module and PIN file', () => {
    const path = 'token=Software%20PKCS%2311;manufacturer=Snake;serial=01ab;model=1%3b0';
    expect(
      parsePkcs11Uri(`pkcs11:${path};object=m%C3%BCll;type=secret-key;id=%00%fF${query}`),
    ).toEqual({
      tokenName: {
        token: 'Software PKCS#11',
        manufacturer: 'Snake',
        serial: '01ab',
        model: '1;0',
      },
      keyName: { object: 'müll', id: Uint8Array.of(0, 255) },
      modulePath: '/usr/lib/module.so',
      pinPath: '/etc/pin',
      kekUri:
        'pkcs11:token=Software%20PKCS%2311;manufacturer=Snake;serial=01ab;model=1%3B0;' +
        'object=m%C3%BCll;id=%00%FF',
    });
  });

  it.each([
    'pkcs11:token=t;object=a%20b;id=%41%2a',
    'pkcs11:id=A*;token=t;object=a%20b;type=secret-key',
    'PKCS11:object=%61%20%62;id=%41*;token=%74',
  ])('gives one key one kekUri, however it is written: %s', (path) => {
    const other = path.includes('PKCS11') ? '?pin-source=/elsewhere&module-path=/other.so' : query;
    expect(parsePkcs11Uri(path + other).kekUri).toBe('pkcs11:token=t;object=a%20b;id=%41%2A');
  });

  it('takes its own kekUri as the path of a URI', () => {
    const uri = parsePkcs11Uri(`pkcs11:token=%27(x)%21;object=%25%3D%3B%3F%2F;id=%80${query}`);
    expect(parsePkcs11Uri(uri.kekUri + query)).toEqual(uri);
  });

  it.each([
    ['file:/run/pin', '/run/pin'],
    ['file:///run/pin', '/run/pin'],
    ['/run/a%20pin', '/run/a pin'],
    ['file:/run/a%26b', '/run/a&b'],
  ])('takes %s as pin-source', (source, pinPath) => {
    const uri = `pkcs11:token=t;object=k?module-path=/m.so&pin-source=${source}`;
    expect(parsePkcs11Uri(uri).pinPath).toBe(pinPath);
  });

  it('takes a URI without pin-source, for a token without PIN', () => {
    expect(parsePkcs11Uri('pkcs11:token=t;object=k?module-path=/m.so').pinPath).toBeUndefined();
  });

  it.each([
    ['another scheme', `file:token=t;object=k${query}`, 'begin with pkcs11:'],
    ['no token', `pkcs11:object=k${query}`, 'neither token nor serial'],
    ['no key', `pkcs11:token=t${query}`, 'neither object nor id'],
    ['another type', `pkcs11:token=t;object=k;type=private${query}`, 'type'],
    ['a token twice', `pkcs11:token=t;token=t;object=k${query}`, 'token twice'],
    ['an empty object', `pkcs11:token=t;object=${query}`, 'empty object'],
    ['an empty attribute', `pkcs11:token=t;;object=k${query}`, 'attribute 2'],
    ['an attribute without a value', `pkcs11:token=t;object${query}`, 'attribute 2'],
    ['a slot', `pkcs11:slot-id=1;token=t;object=k${query}`, 'the attribute slot-id'],
    ['a library', `pkcs11:library-version=3;token=t;object=k${query}`, 'library-version'],
    ["a vendor's attribute", `pkcs11:token=t;object=k;x-y=1${query}`, 'the attribute x-y'],
    ['a name in capitals', `pkcs11:Token=t;object=k${query}`, 'another attribute'],
    ['a cut octet', `pkcs11:token=t%2;object=k${query}`, 'percent-encoded'],
    ['a blank', `pkcs11:token=a b;object=k${query}`, 'percent-encoded'],
    ['a slash in the path', `pkcs11:token=a/b;object=k${query}`, 'percent-encoded'],
    ['a fragment', `pkcs11:token=t;object=k${query}#x`, 'percent-encoded'],
    ['a label that is not UTF-8', `pkcs11:token=t;object=%ff${query}`, 'UTF-8'],
    ['a label with a zero byte', `pkcs11:token=t;object=a%00${query}`, 'zero byte'],
    ['no query', 'pkcs11:token=t;object=k', 'no module-path'],
    ['module-name', 'pkcs11:token=t;object=k?module-name=softhsm2', 'the attribute module-name'],
    ['a relative module', 'pkcs11:token=t;object=k?module-path=m.so', 'no absolute path'],
    ['a relative PIN file', `pkcs11:token=t;object=k?module-path=/m&pin-source=pin`, 'absolute'],
    ['a PIN command', `pkcs11:token=t;object=k?module-path=/m&pin-source=|cat`, 'command'],
  ])('refuses %s', (_name, uri, expected) => {
    const { code, message } = refusalOf(uri);
    expect(code).toBe('RAFTSEAL_KEK_PKCS11_URI');
    expect(message).toContain(expected);
  });

  it.each([
    'pkcs11:token=t;object=k?module-path=/m.so&pin-value=4711',
    'pkcs11:token=t;object=k?pin-value=4711&module-path=m',
    'pkcs11:token=t;object=k;pin-value=4711?module-path=/m.so',
  ])('refuses a PIN in the URI: %s', (uri) => {
    const { code, message } = refusalOf(uri);
    expect(code).toBe('RAFTSEAL_KEK_PKCS11_PIN_VALUE');
    expect(message).not.toContain('4711');
  });

  it('invariant 10: quotes no value in a refusal, nor what may be a value in the wrong place', () => {
    for (const slip of [
      'pinvalue=4711',
      '4711',
      '=4711',
      '4711=x',
      'pin-source=|4711',
      'x= 4711',
    ]) {
      const { message } = refusalOf(`pkcs11:token=t;object=k?module-path=/m.so&${slip}`);
      expect(message).not.toContain('4711');
    }
  });
});
