/** Error codes of the kek area: code to a one-line description. */
export const kekErrors = {
  RAFTSEAL_KEK_CLOSED: 'the KEK provider was closed',
  RAFTSEAL_KEK_DEK_LENGTH: 'a DEK to wrap is not 32 bytes long',
  RAFTSEAL_KEK_ENV_FORMAT: 'the environment variable is not 32 bytes in base64 or hex',
  RAFTSEAL_KEK_ENV_MISSING: 'the environment variable of the KEK is not set',
  RAFTSEAL_KEK_FILE_EXISTS: 'a KEK file to create exists',
  RAFTSEAL_KEK_FILE_LENGTH: 'the KEK file is not exactly 32 bytes long',
  RAFTSEAL_KEK_FILE_MISSING: 'the KEK file does not exist',
  RAFTSEAL_KEK_FILE_MODE: 'others than the owner may read or write the KEK file',
  RAFTSEAL_KEK_FILE_NOT_REGULAR: 'the KEK file is no regular file',
  RAFTSEAL_KEK_FILE_OWNER: 'the KEK file belongs to another user',
  RAFTSEAL_KEK_FILE_UNREADABLE: 'the KEK file could not be opened or read',
  RAFTSEAL_KEK_FILE_UNWRITABLE: 'the KEK file could not be created',
  RAFTSEAL_KEK_MISMATCH: 'a wrapped DEK does not open under this KEK and binding',
  RAFTSEAL_KEK_UNAVAILABLE: 'the KEK cannot be reached',
  RAFTSEAL_KEK_ZERO: 'the KEK is all zero bytes',
} as const;
