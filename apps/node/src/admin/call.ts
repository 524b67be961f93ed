/** A call to the admin API, as it came. */
export interface AdminCall {
  readonly method: string;
  /** With the query, such as `/v1/keys/rotate`. */
  readonly path: string;
  readonly body: string;
  /** How long the node that is asked may take. Default: a call's usual time. */
  readonly timeoutMs?: number;
}
