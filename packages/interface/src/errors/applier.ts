/** Error codes of the applier area: code to a one-line description. */
export const applierErrors = {} as const;
