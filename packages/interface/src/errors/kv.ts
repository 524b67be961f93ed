/** Error codes of the kv area: code to a one-line description. */
export const kvErrors = {} as const;
