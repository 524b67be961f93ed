/** Error codes of the envelope area: code to a one-line description. */
export const envelopeErrors = {
  RAFTSEAL_ENVELOPE_DEK_CONFLICT: 'a DEK id is already taken by another key or another purpose',
  RAFTSEAL_ENVELOPE_DEK_LENGTH: 'a DEK is not 32 bytes long',
  RAFTSEAL_ENVELOPE_FLAG: 'the flag byte of an envelope is not one that this version opens',
  RAFTSEAL_ENVELOPE_INTEGRITY: 'the tag of an envelope does not match its bytes and its place',
  RAFTSEAL_ENVELOPE_NONCES_EXHAUSTED: 'a nonce sequence has reached its limit: rotate the DEK',
  RAFTSEAL_ENVELOPE_NONCE_SEQUENCE_CONFLICT:
    'a second nonce sequence could repeat nonces of the first under the same DEK',
  RAFTSEAL_ENVELOPE_NO_ACTIVE_DEK: 'no storage DEK is active, so no row can be sealed',
  RAFTSEAL_ENVELOPE_RESERVED_DEK_ID: 'DEK id 0 stands for no key',
  RAFTSEAL_ENVELOPE_TOO_SHORT: 'the bytes are shorter than the shortest envelope',
  RAFTSEAL_ENVELOPE_UNKNOWN_DEK: 'the DEK is not loaded (yet)',
  RAFTSEAL_ENVELOPE_VERSION: 'the envelope has another version than the one expected',
  RAFTSEAL_ENVELOPE_WRONG_PURPOSE: 'the DEK is loaded for another purpose',
} as const;
