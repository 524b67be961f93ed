/** Error codes of the sidecar area: code to a one-line description. */
export const sidecarErrors = {} as const;
