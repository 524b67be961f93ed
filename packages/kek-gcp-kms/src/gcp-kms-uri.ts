/**
 * `gcp-kms:` and the resource name of a key, such as
 * `gcp-kms:projects/example/locations/europe-west3/keyRings/raftseal/cryptoKeys/kek`. A key, not one
 * version of it: wraps say their version themselves.
 */
import { kekUriMalformed } from '@raftseal/kek-remote';

const FORM = 'gcp-kms:projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>';

const NAME =
  /^projects\/([a-z0-9.:-]{1,100})\/locations\/[a-z0-9-]{1,63}\/keyRings\/[\w-]{1,63}\/cryptoKeys\/[\w-]{1,63}$/;

export interface GcpKeyName {
  readonly kekUri: string;
  readonly name: string;
  readonly project: string;
}

/** @throws RAFTSEAL_KEK_URI */
export function parseGcpKmsUri(uri: string): GcpKeyName {
  const name = uri.startsWith('gcp-kms:') ? uri.slice('gcp-kms:'.length) : '';
  const [, project] = NAME.exec(name) ?? [];
  if (project === undefined) {
    throw kekUriMalformed(uri, FORM, 'no whole resource name of a key');
  }
  return { kekUri: uri, name, project };
}
