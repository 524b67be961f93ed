/** Error codes of the envelope area: code to a one-line description. */
export const envelopeErrors = {} as const;
