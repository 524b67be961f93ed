/**
 * What Cloud KMS answers other than 200, and what it means. The statuses are those of Google's APIs
 * (https://cloud.google.com/apis/design/errors).
 */
import type { RaftsealError } from '@raftseal/interface';
import {
  DoesNotOpen,
  fieldOf,
  isTransientStatus,
  type JsonAnswer,
  kekDenied,
  kekDisabled,
  kekMissing,
  kekUnavailable,
  quoted,
  retryAfterMsOf,
  TransientKekFailure,
} from '@raftseal/kek-remote';

const saysChecksum = /checksum|crc32c/i;

export type Verb = 'get' | 'encrypt' | 'decrypt';

/**
 * The error that a failed request ends with.
 * @param withheld what was sent and must not be shown.
 */
export function failureOf(
  kekUri: string,
  verb: Verb,
  { status, headers, body }: JsonAnswer,
  withheld: readonly string[],
): RaftsealError | TransientKekFailure | DoesNotOpen {
  const error = fieldOf(body, 'error');
  const name = fieldOf(error, 'status');
  const text = fieldOf(error, 'message');
  const said = typeof text === 'string' ? `: ${quoted(text, withheld)}` : '';
  const found = `HTTP status ${status}${said}`;
  if (isTransientStatus(status)) {
    return new TransientKekFailure(found, retryAfterMsOf(headers['retry-after']));
  }
  if (name === 'INVALID_ARGUMENT' && saysChecksum.test(said)) {
    return new TransientKekFailure(`bytes that were changed on the way to the service${said}`);
  }
  // All but the ciphertext and what it is bound to was right in every call before.
  if (name === 'INVALID_ARGUMENT' && verb === 'decrypt') {
    return new DoesNotOpen(`a wrap that Cloud KMS refuses${said}`);
  }
  if (name === 'FAILED_PRECONDITION') return kekDisabled(kekUri, found);
  if (status === 404) return kekMissing(kekUri, found);
  if (status === 401 || status === 403) {
    return kekDenied(
      kekUri,
      found,
      'The account needs cloudkms.cryptoKeys.get, and useToEncrypt and useToDecrypt of ' +
        'cloudkms.cryptoKeyVersions, on the key.',
    );
  }
  return kekUnavailable(kekUri, found);
}
