/** The KEK in the token: found, checked, or made. Its value is never asked for. */
import { type ErrorCode, RaftsealError } from '@raftseal/interface';
import { KEK_BYTES } from '@raftseal/kek-memory';
import type { KeyName } from '../uri.ts';
import { type Attribute, booleanOf, type ObjectHandle, template, ulongOf } from './attributes.ts';
import type { Pkcs11Module } from './module.ts';
import { ULONG_BYTES } from './native-memory.ts';
import { CKA, CKK_AES, CKM, CKO_SECRET_KEY, classNames } from './standard.ts';

/** More matches than this are not counted. */
const MATCHES_MAX = 32;

interface Found {
  readonly handle: ObjectHandle;
  /** CKA_CLASS. */
  readonly objectClass: number | undefined;
}

/**
 * The one secret key of that name, which is fit to be a KEK.
 * @throws RAFTSEAL_KEK_PKCS11_KEY_MISSING, RAFTSEAL_KEK_PKCS11_KEY_AMBIGUOUS,
 *   RAFTSEAL_KEK_PKCS11_KEY_UNFIT
 */
export async function findKey(
  module: Pkcs11Module,
  session: number,
  name: KeyName,
): Promise<ObjectHandle> {
  const found = await objectsNamed(module, session, name);
  const keys = found.filter(({ objectClass }) => objectClass === CKO_SECRET_KEY);
  const [key, ...others] = keys;
  if (key !== undefined && others.length === 0) {
    await checkFit(module, key.handle, name);
    return key.handle;
  }
  if (key !== undefined) {
    throw unexpected(
      'RAFTSEAL_KEK_PKCS11_KEY_AMBIGUOUS',
      name,
      `${keys.length}. Tell them apart by object and id in the URI.`,
    );
  }
  const [other] = found;
  if (other !== undefined) {
    throw unexpected(
      'RAFTSEAL_KEK_PKCS11_KEY_UNFIT',
      name,
      `${className(other)}. Name a secret key, or create one.`,
    );
  }
  throw unexpected(
    'RAFTSEAL_KEK_PKCS11_KEY_MISSING',
    name,
    'none. Correct the URI, or create the key.',
  );
}

/**
 * Makes a key that {@link findKey} takes.
 * @throws RAFTSEAL_KEK_PKCS11_KEY_EXISTS where any object has one of its names
 */
export async function createKey(
  module: Pkcs11Module,
  session: number,
  name: KeyName,
): Promise<void> {
  const { object, id } = name;
  for (const one of [
    ...(object === undefined ? [] : [{ object }]),
    ...(id === undefined ? [] : [{ id }]),
  ]) {
    const [existing] = await objectsNamed(module, session, one);
    if (existing === undefined) continue;
    throw new RaftsealError(
      'RAFTSEAL_KEK_PKCS11_KEY_EXISTS',
      `expected no object with ${describe(one)} in the token; found ${className(existing)}. Use ` +
        'it, or choose another name.',
    );
  }
  const { memory } = module;
  const mechanism = memory.struct(CKM.aesKeyGen, 0n, 0);
  const attributes: readonly Attribute[] = [...fitAttributes, ...nameAttributes(name)];
  const { address } = template(memory, attributes);
  const handle = memory.struct(0);
  const args = [mechanism.address, address, attributes.length, handle.address] as const;
  await module.run('C_GenerateKey', session, ...args);
  memory.wipe();
}

/** A key that wraps and unwraps, stays in the token and does nothing else. */
const fitAttributes: readonly Attribute[] = [
  [CKA.class, CKO_SECRET_KEY],
  [CKA.keyType, CKK_AES],
  [CKA.valueLength, KEK_BYTES],
  [CKA.token, true],
  [CKA.private, true],
  [CKA.sensitive, true],
  [CKA.extractable, false],
  [CKA.encrypt, true],
  [CKA.decrypt, true],
  [CKA.wrap, false],
  [CKA.unwrap, false],
];

function nameAttributes({ object, id }: KeyName): readonly Attribute[] {
  return [
    ...(object === undefined ? [] : [[CKA.label, Buffer.from(object, 'utf8')] as const]),
    ...(id === undefined ? [] : [[CKA.id, id] as const]),
  ];
}

async function objectsNamed(
  module: Pkcs11Module,
  session: number,
  name: KeyName,
): Promise<Found[]> {
  const { memory } = module;
  const wanted = nameAttributes(name);
  const { address } = template(memory, wanted);
  await module.run('C_FindObjectsInit', session, address, wanted.length);
  const handles = memory.room(MATCHES_MAX * ULONG_BYTES);
  const count = memory.struct(0);
  try {
    await module.run('C_FindObjects', session, handles.address, MATCHES_MAX, count.address);
  } finally {
    await module.call('C_FindObjectsFinal', session);
  }
  const objects = Array.from({ length: memory.readUlong(count) }, (_, index) =>
    memory.readUlong(handles, index * ULONG_BYTES),
  );
  const found: Found[] = [];
  for (const object of objects) {
    const handle = { session, object };
    found.push({ handle, objectClass: await ulongOf(module, handle, CKA.class) });
  }
  memory.wipe();
  return found;
}

/** Every attribute that a KEK must have, and what a key without it is. */
async function checkFit(module: Pkcs11Module, handle: ObjectHandle, name: KeyName): Promise<void> {
  const isTrue = (type: number) => booleanOf(module, handle, type);
  const findings: string[] = [];
  const require = (holds: boolean, finding: string): void => {
    if (!holds) findings.push(finding);
  };
  require((await ulongOf(module, handle, CKA.keyType)) === CKK_AES, 'is no AES key');
  const bytes = await ulongOf(module, handle, CKA.valueLength);
  require(bytes === KEK_BYTES, `has ${bytes ?? 'an unknown number of'} bytes instead of 32`);
  require((await isTrue(CKA.sensitive)) === true, 'is not sensitive (CKA_SENSITIVE)');
  require((await isTrue(CKA.extractable)) === false, 'is extractable (CKA_EXTRACTABLE)');
  require((await isTrue(CKA.encrypt)) === true, 'may not encrypt (CKA_ENCRYPT)');
  require((await isTrue(CKA.decrypt)) === true, 'may not decrypt (CKA_DECRYPT)');
  module.memory.wipe();
  if (findings.length === 0) return;
  throw unexpected(
    'RAFTSEAL_KEK_PKCS11_KEY_UNFIT',
    name,
    `one that ${findings.join(', ')}. Create a new one.`,
  );
}

function className({ objectClass }: Found): string {
  return classNames[objectClass ?? -1] ?? 'an object of another class';
}

function unexpected(code: ErrorCode, name: KeyName, found: string): RaftsealError {
  return new RaftsealError(
    code,
    `expected one secret key with ${describe(name)} in the token, an AES key of 256 bits that ` +
      `wraps, unwraps and cannot leave it; found ${found}`,
  );
}

function describe({ object, id }: KeyName): string {
  const parts = [
    ...(object === undefined ? [] : [`label ${JSON.stringify(object)}`]),
    ...(id === undefined ? [] : [`id ${Buffer.from(id).toString('hex')}`]),
  ];
  return parts.join(' and ');
}
