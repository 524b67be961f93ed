/** Error codes of the resp area: code to a one-line description. */
export const respErrors = {} as const;
