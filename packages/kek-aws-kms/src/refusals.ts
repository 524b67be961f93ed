/**
 * What the SDK throws, as refusals. Errors are told apart by their names
 * (https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html and the pages of the
 * operations); none is passed on as a cause, since the SDK hangs requests and responses on them.
 */
import { codeOf, type RaftsealError } from '@raftseal/interface';
import {
  DoesNotOpen,
  kekCredentials,
  kekDenied,
  kekDisabled,
  kekMissing,
  kekUnavailable,
  kekUnfit,
  quoted,
} from '@raftseal/kek-remote';

type Kind = 'mismatch' | 'missing' | 'disabled' | 'denied' | 'unfit' | 'credentials';

const kinds: Readonly<Record<string, Kind>> = {
  InvalidCiphertextException: 'mismatch',
  IncorrectKeyException: 'mismatch',
  NotFoundException: 'missing',
  InvalidArnException: 'missing',
  DisabledException: 'disabled',
  KMSInvalidStateException: 'disabled',
  InvalidKeyUsageException: 'unfit',
  UnsupportedOperationException: 'unfit',
  AccessDeniedException: 'denied',
  ExpiredTokenException: 'denied',
  IncompleteSignature: 'denied',
  InvalidClientTokenId: 'denied',
  InvalidGrantTokenException: 'denied',
  InvalidSignatureException: 'denied',
  MissingAuthenticationTokenException: 'denied',
  NotAuthorized: 'denied',
  OptInRequired: 'denied',
  SignatureDoesNotMatch: 'denied',
  UnrecognizedClientException: 'denied',
  CredentialsProviderError: 'credentials',
  TokenProviderError: 'credentials',
};

/** The error's name and words, fit to be shown. */
export function foundIn(error: unknown, withheld: readonly string[]): string {
  if (!(error instanceof Error)) return 'an error';
  const name = codeOf(error) ?? error.name;
  const message = quoted(error.message, withheld);
  return message === '' || message === name ? name : `${name}: ${message}`;
}

/** @param attempts how often the SDK tried. */
export function refusalOf(
  kekUri: string,
  error: unknown,
  { attempts, withheld }: { attempts: number; withheld: readonly string[] },
): RaftsealError | DoesNotOpen {
  const found = foundIn(error, withheld);
  const kind = error instanceof Error ? kinds[error.name] : undefined;
  switch (kind) {
    case 'mismatch':
      return new DoesNotOpen(`a wrap that AWS KMS refuses (${found})`);
    case 'missing':
      return kekMissing(kekUri, found);
    case 'disabled':
      return kekDisabled(kekUri, found);
    case 'unfit':
      return kekUnfit(kekUri, 'a symmetric key for ENCRYPT_DECRYPT', found);
    case 'denied':
      return kekDenied(
        kekUri,
        found,
        'The credentials must be valid, and the policies must give kms:DescribeKey, kms:Encrypt ' +
          'and kms:Decrypt on the key.',
      );
    case 'credentials':
      return kekCredentials(kekUri, 'credentials in the chain of the AWS SDK', found);
    case undefined:
      return kekUnavailable(
        kekUri,
        attempts > 1 ? `${found} (failed attempts: ${attempts})` : found,
      );
  }
}
