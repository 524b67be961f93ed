/** Error codes of the node area: code to a one-line description. */
export const nodeErrors = {} as const;
