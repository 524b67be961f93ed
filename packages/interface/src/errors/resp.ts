/** Error codes of the resp area: code to a one-line description. */
export const respErrors = {
  RAFTSEAL_RESP_INLINE_TOO_LONG: 'an inline request is longer than its limit',
  RAFTSEAL_RESP_UNBALANCED_QUOTES: 'an inline request opens a quote that it does not close',
  RAFTSEAL_RESP_HEADER_TOO_LONG: 'the line that announces an array or a bulk string does not end',
  RAFTSEAL_RESP_ARRAY_LENGTH: 'the announced number of arguments is no number or above its limit',
  RAFTSEAL_RESP_BULK_EXPECTED: 'something else stands where a bulk string must begin',
  RAFTSEAL_RESP_BULK_LENGTH:
    'the announced length of a bulk string is no number or above its limit',
  RAFTSEAL_RESP_UNAUTHENTICATED_LENGTH:
    'a client that has not authenticated announces more than such a client may send',
  RAFTSEAL_RESP_REQUEST_TOO_LARGE: 'the arguments of one request are larger than their limit',
} as const;
