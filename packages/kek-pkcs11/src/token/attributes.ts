/** Templates (arrays of CK_ATTRIBUTE), and what an object answers for one attribute. */
import { type Pkcs11Module, refusal } from './module.ts';
import { type NativeMemory, type Place, POINTER_BYTES, ULONG_BYTES } from './native-memory.ts';
import { CKR } from './standard.ts';

/** CKA_* and its value: a CK_ULONG, a CK_BBOOL, or bytes. */
export type Attribute = readonly [type: number, value: number | boolean | Uint8Array];

/** An object within a session. */
export interface ObjectHandle {
  readonly session: number;
  readonly object: number;
}

/** Where CK_ATTRIBUTE has ulValueLen: behind a CK_ULONG and a pointer. */
const LENGTH_OFFSET = ULONG_BYTES + POINTER_BYTES;

export function template(memory: NativeMemory, attributes: readonly Attribute[]): Place {
  const fields = attributes.flatMap(([type, value]) => {
    const place = valuePlace(memory, value);
    return [type, place.address, place.length];
  });
  return memory.struct(...fields);
}

function valuePlace(memory: NativeMemory, value: number | boolean | Uint8Array): Place {
  if (typeof value === 'number') return memory.struct(value);
  if (typeof value === 'boolean') return memory.put(Uint8Array.of(value ? 1 : 0));
  return memory.put(value);
}

/** The CK_ULONG of an attribute; undefined where the object has or shows none. */
export async function ulongOf(
  module: Pkcs11Module,
  handle: ObjectHandle,
  type: number,
): Promise<number | undefined> {
  const place = await valueAt(module, handle, type, ULONG_BYTES);
  return place === undefined ? undefined : module.memory.readUlong(place);
}

/** The CK_BBOOL of an attribute; undefined where the object has or shows none. */
export async function booleanOf(
  module: Pkcs11Module,
  handle: ObjectHandle,
  type: number,
): Promise<boolean | undefined> {
  const place = await valueAt(module, handle, type, 1);
  return place === undefined ? undefined : module.memory.read(place)[0] !== 0;
}

async function valueAt(
  module: Pkcs11Module,
  { session, object }: ObjectHandle,
  type: number,
  length: number,
): Promise<Place | undefined> {
  const { memory } = module;
  const value = memory.room(length);
  const attribute = memory.struct(type, value.address, length);
  const args = [session, object, attribute.address, 1] as const;
  const returned = await module.call('C_GetAttributeValue', ...args);
  if (returned === CKR.CKR_ATTRIBUTE_SENSITIVE) return undefined;
  if (returned === CKR.CKR_ATTRIBUTE_TYPE_INVALID) return undefined;
  if (returned !== CKR.CKR_OK) throw refusal('C_GetAttributeValue', returned);
  return memory.readUlong(attribute, LENGTH_OFFSET) === length ? value : undefined;
}
