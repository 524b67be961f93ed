/**
 * What Vault and OpenBao answer, and what it means. Refusals of the transit engine are told apart
 * by their text: most of them are 400, and older versions answer 500 for some.
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

const isMissing = /encryption key not found|policy not found|no existing key named/i;
const isDisabled = /disallowed by policy|no such key version|soft.?deleted/i;
const doesNotOpen =
  /message authentication failed|invalid ciphertext|(could not|unable to) decrypt/i;

export type Verb = 'keys' | 'encrypt' | 'decrypt';

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
  const text = errorTextOf(body);
  const said = text === '' ? '' : `: ${quoted(text, withheld)}`;
  const found = `HTTP status ${status}${said}`;
  if (verb === 'decrypt' && doesNotOpen.test(text)) {
    return new DoesNotOpen(`a wrap that Vault refuses${said}`);
  }
  if (isDisabled.test(text)) return kekDisabled(kekUri, found);
  if (isMissing.test(text) || status === 404) return kekMissing(kekUri, found);
  if (status === 401 || status === 403) {
    return kekDenied(
      kekUri,
      found,
      'The token must be valid, and its policy must give read on the key and update on encrypt ' +
        'and decrypt of it.',
    );
  }
  // 412: a standby that has not seen yet what the token's node has.
  if (isTransientStatus(status) || status === 412) {
    return new TransientKekFailure(found, retryAfterMsOf(headers['retry-after']));
  }
  if (status >= 300 && status < 400) {
    return kekUnavailable(kekUri, `${found}, a redirect: name the host that answers itself`);
  }
  return kekUnavailable(kekUri, found);
}

/** Of `{"errors": ["..."]}`. */
function errorTextOf(body: unknown): string {
  const errors = fieldOf(body, 'errors');
  if (!Array.isArray(errors)) return '';
  return errors.filter((each) => typeof each === 'string').join('; ');
}
