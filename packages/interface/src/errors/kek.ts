/** Error codes of the kek area: code to a one-line description. */
export const kekErrors = {} as const;
