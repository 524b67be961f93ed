/** Error codes of the engine area: code to a one-line description. */
export const engineErrors = {} as const;
