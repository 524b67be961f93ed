/** Whether a key of a transit engine binds a wrap to what the wrap is for. */
import { randomBytes } from 'node:crypto';
import { DEK_BYTES } from '@raftseal/interface';
import { fieldOf, kekDisabled, kekUnavailable, kekUnfit } from '@raftseal/kek-remote';

/** AEADs of 256 bits. */
const fitTypes: readonly string[] = ['aes256-gcm96', 'chacha20-poly1305', 'xchacha20-poly1305'];

const EXPECTED = `a transit key of type ${fitTypes.join(', ')} without convergent encryption`;

export interface TransitKind {
  /** The key derives another for each context, which each request must give. */
  readonly isDerived: boolean;
}

/**
 * Judges a key by what the engine says of it.
 * @param data of the answer to reading the key.
 * @throws RAFTSEAL_KEK_UNFIT, RAFTSEAL_KEK_DISABLED, RAFTSEAL_KEK_UNAVAILABLE
 */
export function checkKind(kekUri: string, data: unknown): TransitKind {
  const type = fieldOf(data, 'type');
  if (typeof type !== 'string') {
    throw kekUnavailable(kekUri, 'an answer that is none of a transit engine');
  }
  if (!fitTypes.includes(type)) {
    throw kekUnfit(kekUri, EXPECTED, `the type ${JSON.stringify(type)}`);
  }
  if (fieldOf(data, 'convergent_encryption') === true) {
    throw kekUnfit(kekUri, EXPECTED, 'convergent encryption, which wraps one DEK to equal bytes');
  }
  if (fieldOf(data, 'soft_deleted') === true) throw kekDisabled(kekUri, 'a soft-deleted key');
  return { isDerived: fieldOf(data, 'derived') === true };
}

/** What the check needs of the engine. */
export interface ProbedEngine {
  encrypt(dek: Uint8Array, associatedData: Buffer): Promise<string>;
  isOpenedBy(ciphertext: string, associatedData: Buffer): Promise<boolean>;
}

/**
 * Shows that the engine heeds `associated_data`: one that does not know the parameter ignores it,
 * and its wraps would open for any DEK id, purpose and cluster.
 * @throws RAFTSEAL_KEK_UNFIT
 */
export async function checkAssociatedData(kekUri: string, engine: ProbedEngine): Promise<void> {
  const ciphertext = await engine.encrypt(randomBytes(DEK_BYTES), Buffer.from('raftseal probe 1'));
  if (await engine.isOpenedBy(ciphertext, Buffer.from('raftseal probe 2'))) {
    throw kekUnfit(
      kekUri,
      'a key of an engine that binds associated_data (Vault 1.9 or OpenBao)',
      'one that ignores it',
    );
  }
}
