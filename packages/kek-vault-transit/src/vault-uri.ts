/**
 * `vault-transit:<address>/<mount>/keys/<name>[?namespace=<namespace>]`, such as
 * `vault-transit:https://vault.example.org:8200/transit/keys/raftseal`. The URI alone says which
 * key is meant: no part of it is taken from the environment, where nodes may differ.
 */
import { keepsSecrets, kekUriMalformed } from '@raftseal/kek-remote';

const FORM = 'vault-transit:https://host:8200/<mount>/keys/<name>[?namespace=<namespace>]';
const SCHEME = 'vault-transit:';

const PATH = /^\/((?:[\w.-]+\/)*[\w.-]+)\/keys\/(\w(?:[\w.-]*\w)?)$/;
const NAMESPACE = /^[\w.-]+(?:\/[\w.-]+)*$/;

export interface TransitKey {
  /** The URI in its shortest form. */
  readonly kekUri: string;
  /** Scheme, host and port. */
  readonly address: URL;
  /** Where the transit engine is mounted, without slashes around it. */
  readonly mount: string;
  readonly name: string;
  readonly namespace: string | undefined;
}

/** @throws RAFTSEAL_KEK_URI */
export function parseTransitUri(uri: string): TransitKey {
  const url = parsedUrl(uri);
  const [, mount, name] = PATH.exec(url.pathname) ?? [];
  if (mount === undefined || name === undefined) {
    throw kekUriMalformed(uri, FORM, 'its path does not name a key of a transit engine');
  }
  const namespace = namespaceOf(uri, url);
  const query = namespace === undefined ? '' : `?namespace=${namespace}`;
  const kekUri = `${SCHEME}${url.origin}/${mount}/keys/${name}${query}`;
  return { kekUri, address: new URL(url.origin), mount, name, namespace };
}

function parsedUrl(uri: string): URL {
  const rest = uri.startsWith(SCHEME) ? uri.slice(SCHEME.length) : '';
  const url = URL.canParse(rest) ? new URL(rest) : undefined;
  if (url?.username || url?.password) {
    // Not quoted: it holds a password.
    throw kekUriMalformed(`${SCHEME}...`, FORM, 'a user or password in it; it takes none');
  }
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw kekUriMalformed(uri, FORM, 'no address of a Vault in it');
  }
  if (!keepsSecrets(url)) {
    throw kekUriMalformed(
      uri,
      FORM,
      'http would show DEKs to the network: only https leaves a host',
    );
  }
  if (url.hash !== '') throw kekUriMalformed(uri, FORM, 'a fragment at its end');
  return url;
}

function namespaceOf(uri: string, { searchParams }: URL): string | undefined {
  for (const key of searchParams.keys()) {
    if (key !== 'namespace') throw kekUriMalformed(uri, FORM, `an unknown parameter ${key}`);
  }
  const [value, ...others] = searchParams.getAll('namespace');
  if (value === undefined) return undefined;
  const namespace = value.replace(/\/$/, '');
  if (others.length > 0 || !NAMESPACE.test(namespace)) {
    throw kekUriMalformed(uri, FORM, 'no name of a namespace in its parameter');
  }
  return namespace;
}
