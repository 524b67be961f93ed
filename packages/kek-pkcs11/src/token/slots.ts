/** Finds the token that a URI names among those in the module's slots. */
import { RaftsealError } from '@raftseal/interface';
import type { TokenName } from '../uri.ts';
import type { Pkcs11Module } from './module.ts';
import { NULL, ULONG_BYTES } from './native-memory.ts';
import { CKF } from './standard.ts';

export interface FoundToken {
  readonly slot: number;
  /** Of CK_TOKEN_INFO. */
  readonly flags: number;
}

/** CK_TOKEN_INFO begins with these texts, padded with blanks, and the flags behind them. */
const textFields = [
  ['token', 0, 32],
  ['manufacturer', 32, 64],
  ['model', 64, 80],
  ['serial', 80, 96],
] as const;
const FLAGS_OFFSET = 96;
/** More than CK_TOKEN_INFO has on any platform. */
const TOKEN_INFO_BYTES = 256;

/** Slots that may come up between two calls. */
const SLOTS_TO_SPARE = 8;

/** @throws RAFTSEAL_KEK_PKCS11_TOKEN_MISSING, RAFTSEAL_KEK_PKCS11_TOKEN_AMBIGUOUS */
export async function findToken(module: Pkcs11Module, name: TokenName): Promise<FoundToken> {
  const found: FoundToken[] = [];
  for (const slot of await slotsWithToken(module)) {
    const place = module.memory.room(TOKEN_INFO_BYTES);
    await module.run('C_GetTokenInfo', slot, place.address);
    const flags = module.memory.readUlong(place, FLAGS_OFFSET);
    const info = module.memory.read(place);
    module.memory.wipe();
    if ((flags & CKF.tokenInitialized) !== 0 && matches(info, name)) found.push({ slot, flags });
  }
  const [first, ...others] = found;
  if (first === undefined) throw tokenMissing(name);
  if (others.length > 0) throw tokenAmbiguous(name, found.length);
  return first;
}

async function slotsWithToken(module: Pkcs11Module): Promise<number[]> {
  const { memory } = module;
  const count = memory.struct(0);
  await module.run('C_GetSlotList', 1, NULL, count.address);
  const room = memory.readUlong(count) + SLOTS_TO_SPARE;
  const list = memory.room(room * ULONG_BYTES);
  const filled = memory.struct(room);
  await module.run('C_GetSlotList', 1, list.address, filled.address);
  const slots = Array.from({ length: memory.readUlong(filled) }, (_, index) =>
    memory.readUlong(list, index * ULONG_BYTES),
  );
  memory.wipe();
  return slots;
}

function matches(info: Uint8Array, name: TokenName): boolean {
  return textFields.every(([field, start, end]) => {
    const wanted = name[field];
    const text = Buffer.from(info.subarray(start, end)).toString('utf8');
    return wanted === undefined || text.trimEnd() === wanted.trimEnd();
  });
}

function tokenMissing(name: TokenName): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_PKCS11_TOKEN_MISSING',
    `expected a token with ${describe(name)}; found none that is initialised. Plug it in, correct ` +
      'the URI, or correct the set-up of the module.',
  );
}

function tokenAmbiguous(name: TokenName, count: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_PKCS11_TOKEN_AMBIGUOUS',
    `expected one token with ${describe(name)}; found ${count}. Add its serial to the URI.`,
  );
}

function describe(name: TokenName): string {
  const parts = Object.entries(name).map(([field, text]) => `${field} ${JSON.stringify(text)}`);
  return parts.join(', ');
}
