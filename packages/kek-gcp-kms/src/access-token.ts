/**
 * The headers that show this process to Google Cloud: an access token by Application Default
 * Credentials (https://cloud.google.com/docs/authentication/application-default-credentials), which
 * the library caches and renews before it expires.
 */

import {
  connectionFailureOf,
  fieldOf,
  isTransientStatus,
  kekCredentials,
  quoted,
  TransientKekFailure,
} from '@raftseal/kek-remote';
import { GoogleAuth } from 'google-auth-library';
import type { GcpKeyName } from './gcp-kms-uri.ts';

const SCOPES = ['https://www.googleapis.com/auth/cloudkms'];

export class AccessToken {
  readonly #key: GcpKeyName;
  #auth: GoogleAuth;

  constructor(key: GcpKeyName) {
    this.#key = key;
    this.#auth = authOf(key);
  }

  /** @throws RAFTSEAL_KEK_CREDENTIALS, TransientKekFailure */
  async headers(): Promise<Record<string, string>> {
    try {
      return Object.fromEntries(await this.#auth.getRequestHeaders());
    } catch (error) {
      throw this.#refusalOf(error);
    }
  }

  /** Forgets the token after the service refused it; the next one is asked for anew. */
  forget(): void {
    this.#auth = authOf(this.#key);
  }

  #refusalOf(error: unknown): Error {
    const message = quoted(error instanceof Error ? error.message : 'an error');
    const status = fieldOf(error, 'status');
    const lost = connectionFailureOf(error);
    if (lost !== undefined || (typeof status === 'number' && isTransientStatus(status))) {
      return new TransientKekFailure(`no access token: ${lost ?? message}`);
    }
    const expected = 'Application Default Credentials of Google Cloud';
    return kekCredentials(this.#key.kekUri, expected, message);
  }
}

/** With the key's project: else the library looks for one, also by starting a program. */
function authOf({ project }: GcpKeyName): GoogleAuth {
  return new GoogleAuth({ scopes: SCOPES, projectId: project });
}
