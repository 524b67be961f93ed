/**
 * The errors of a KEK behind a service. None of them carries a cause: clients hang requests with
 * tokens and plaintext DEKs on the errors they throw, and errors are logged.
 */
import { RaftsealError } from '@raftseal/interface';

export function kekUnavailable(kekUri: string, found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_UNAVAILABLE',
    `expected the service of ${kekUri} to answer; found ${found}. Check the service and the ` +
      'network on the way to it.',
  );
}

/** @param advice what gives the permission. */
export function kekDenied(kekUri: string, found: string, advice: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_DENIED',
    `expected the permission to use ${kekUri}; found ${found}. ${advice}`,
  );
}

export function kekDisabled(kekUri: string, found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_DISABLED',
    `expected ${kekUri} to be enabled; found ${found}. Enable or restore the key: without it no ` +
      'DEK that it wrapped can be opened.',
  );
}

export function kekMissing(kekUri: string, found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_MISSING',
    `expected a key at ${kekUri}; found ${found}. Correct the URI, or create the key.`,
  );
}

/** @param expected the kind of key that is needed. */
export function kekUnfit(kekUri: string, expected: string, found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_UNFIT',
    `expected ${kekUri} to be ${expected}; found ${found}. Name a key of that kind.`,
  );
}

/** @param expected what would let this process show who it is. */
export function kekCredentials(kekUri: string, expected: string, found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_CREDENTIALS',
    `expected ${expected} for ${kekUri}; found ${found}.`,
  );
}

/** @param uri what was given; it must hold no secret. */
export function kekUriMalformed(uri: string, expected: string, found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_URI',
    `expected a KEK URI of the form ${expected}; found ${JSON.stringify(uri)}: ${found}.`,
  );
}
