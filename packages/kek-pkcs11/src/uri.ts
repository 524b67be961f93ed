/**
 * PKCS#11 URIs (RFC 7512): which key of which token, the module that reaches it, and the file with
 * its PIN.
 *
 * | part | attribute | meaning |
 * | --- | --- | --- |
 * | path | token, serial, model, manufacturer | the token; token or serial is required |
 * | path | object, id | the key's CKA_LABEL and CKA_ID; one of them is required |
 * | path | type | secret-key, or left out |
 * | query | module-path | the module's shared library, an absolute path; required |
 * | query | pin-source | the file with the PIN: file:/path, or an absolute path |
 *
 * What else the RFC has is refused and not ignored: an attribute that is left unheeded would widen
 * what the URI names. Values are quoted in no refusal, because one of them may be a PIN.
 */
import { RaftsealError } from '@raftseal/interface';

/** What a URI says of a token; what is left out matches every token. */
export interface TokenName {
  readonly token?: string;
  readonly manufacturer?: string;
  readonly serial?: string;
  readonly model?: string;
}

export interface KeyName {
  /** CKA_LABEL, in UTF-8. */
  readonly object?: string;
  /** CKA_ID. */
  readonly id?: Uint8Array;
}

export interface Pkcs11Uri {
  readonly tokenName: TokenName;
  readonly keyName: KeyName;
  /** Absolute. */
  readonly modulePath: string;
  /** Absolute. */
  readonly pinPath?: string;
  /** The path attributes alone, in one order and one encoding: the key's name and no secret. */
  readonly kekUri: string;
}

const tokenAttributes = ['token', 'manufacturer', 'serial', 'model'] as const;
const pathAttributes: readonly string[] = [...tokenAttributes, 'object', 'type', 'id'];
const queryAttributes: readonly string[] = ['module-path', 'pin-source'];

/** pk11-pchar and pk11-qchar of RFC 7512 section 2.3, percent-encoded octets included. */
const pathValue = /^(?:[A-Za-z0-9\-._~:[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*$/;
const queryValue = /^(?:[A-Za-z0-9\-._~:[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*$/;

/** @throws RAFTSEAL_KEK_PKCS11_URI, RAFTSEAL_KEK_PKCS11_PIN_VALUE */
export function parsePkcs11Uri(uri: string): Pkcs11Uri {
  if (!/^pkcs11:/i.test(uri)) throw malformed('a text that does not begin with pkcs11:');
  const rest = uri.slice('pkcs11:'.length);
  const mark = rest.indexOf('?');
  const [path, query] = mark < 0 ? [rest, ''] : [rest.slice(0, mark), rest.slice(mark + 1)];
  const found = parsePart(path, { separator: ';', known: pathAttributes, values: pathValue });
  const reached = parsePart(query, { separator: '&', known: queryAttributes, values: queryValue });
  const tokenName = tokenNameOf(found);
  const keyName = keyNameOf(found);
  const pinSource = reached.get('pin-source');
  return {
    tokenName,
    keyName,
    modulePath: absolutePath('module-path', textOf(reached, 'module-path') ?? ''),
    ...(pinSource === undefined ? {} : { pinPath: pinPathOf(textIn('pin-source', pinSource)) }),
    kekUri: canonical(tokenName, keyName),
  };
}

interface Part {
  readonly separator: string;
  readonly known: readonly string[];
  readonly values: RegExp;
}

/** Name to decoded value of each attribute of the path or of the query. */
function parsePart(text: string, { separator, known, values }: Part): Map<string, Buffer> {
  const attributes = new Map<string, Buffer>();
  if (text === '') return attributes;
  for (const [at, attribute] of text.split(separator).entries()) {
    const equals = attribute.indexOf('=');
    if (equals < 1) throw malformed(`no name and "=" in attribute ${at + 1} of a part`);
    const name = attribute.slice(0, equals);
    const value = attribute.slice(equals + 1);
    if (name === 'pin-value') throw pinInUri();
    if (!known.includes(name)) throw unknownAttribute(name, known);
    if (attributes.has(name)) throw malformed(`the attribute ${name} twice`);
    if (!values.test(value)) {
      throw malformed(`a character in ${name} that has to be percent-encoded`);
    }
    if (value === '') throw malformed(`an empty ${name}`);
    attributes.set(name, percentDecode(value));
  }
  return attributes;
}

function percentDecode(value: string): Buffer {
  const bytes = value.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1');
}

function tokenNameOf(attributes: ReadonlyMap<string, Buffer>): TokenName {
  if (!attributes.has('token') && !attributes.has('serial')) {
    throw malformed('neither token nor serial');
  }
  const named = tokenAttributes.flatMap((name) => {
    const text = textOf(attributes, name);
    return text === undefined ? [] : [[name, text] as const];
  });
  return Object.fromEntries(named);
}

function keyNameOf(attributes: ReadonlyMap<string, Buffer>): KeyName {
  const type = textOf(attributes, 'type');
  if (type !== undefined && type !== 'secret-key') throw malformed('a type that is not secret-key');
  const object = textOf(attributes, 'object');
  const id = attributes.get('id');
  if (object === undefined && id === undefined) throw malformed('neither object nor id');
  return {
    ...(object === undefined ? {} : { object }),
    ...(id === undefined ? {} : { id: Uint8Array.from(id) }),
  };
}

function textOf(attributes: ReadonlyMap<string, Buffer>, name: string): string | undefined {
  const bytes = attributes.get(name);
  return bytes === undefined ? undefined : textIn(name, bytes);
}

function textIn(name: string, bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(bytes)) throw malformed(`no UTF-8 in ${name}`);
  if (text.includes('\0')) throw malformed(`a zero byte in ${name}`);
  return text;
}

function pinPathOf(source: string): string {
  if (source.startsWith('|')) throw malformed('a command as pin-source, which is not run');
  // Both forms of RFC 8089 without a host: file:/path and file:///path.
  return absolutePath('pin-source', source.replace(/^file:(?:\/\/(?=\/))?/, ''));
}

function absolutePath(name: string, path: string): string {
  if (path === '') throw malformed(`no ${name}`);
  if (path.startsWith('/') || /^[A-Za-z]:[\\/]/.test(path)) return path;
  throw malformed(`a ${name} that is no absolute path`);
}

/** RFC 7512 section 2.3 recommends an id with every octet percent-encoded. */
function canonical(tokenName: TokenName, { object, id }: KeyName): string {
  const texts = { ...tokenName, ...(object === undefined ? {} : { object }) };
  const attributes = Object.entries(texts).map(([name, text]) => {
    const plain = encodeURIComponent(text).replace(/[!'()*]/g, (sign) =>
      percentEncode(sign.charCodeAt(0)),
    );
    return `${name}=${plain}`;
  });
  if (id !== undefined) attributes.push(`id=${Array.from(id, percentEncode).join('')}`);
  return `pkcs11:${attributes.join(';')}`;
}

function percentEncode(octet: number): string {
  return `%${octet.toString(16).toUpperCase().padStart(2, '0')}`;
}

function malformed(found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_PKCS11_URI',
    'expected pkcs11:token=<label>;object=<label>?module-path=/<module>&pin-source=file:/<file> ' +
      `as RFC 7512 has it; found ${found}. Correct the URI.`,
  );
}

function unknownAttribute(name: string, known: readonly string[]): RaftsealError {
  // What has another form than a name may be a value that lost its place.
  const found = /^[a-z]+(?:-[a-z]+)*$/.test(name) ? `the attribute ${name}` : 'another attribute';
  return malformed(`${found} where ${known.join(', ')} are known`);
}

function pinInUri(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_PKCS11_PIN_VALUE',
    'expected the PIN in a file; found pin-value in the URI. URIs are seen in process lists and ' +
      'logs: consider a new PIN, write it to a file of mode 0600, and name that by pin-source.',
  );
}
