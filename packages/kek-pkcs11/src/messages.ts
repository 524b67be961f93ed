/**
 * What the provider and its token process say to each other. One request is answered by one reply;
 * the first request opens the token.
 */
import type { ErrorCode } from '@raftseal/interface';
import type { TokenOptions, WrapParameters } from './token/token.ts';

export type TokenRequest =
  | { readonly kind: 'open'; readonly options: TokenOptions }
  | { readonly kind: 'wrap'; readonly dek: Uint8Array; readonly parameters: WrapParameters }
  | { readonly kind: 'unwrap'; readonly sealed: Uint8Array; readonly parameters: WrapParameters };

export interface NumberedRequest {
  readonly number: number;
  readonly request: TokenRequest;
}

/** What a request came to. */
export type TokenOutcome =
  /** Without bytes after open, and where a wrap does not authenticate. */
  | { readonly kind: 'done'; readonly bytes?: Uint8Array }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string };

export interface NumberedOutcome {
  readonly number: number;
  readonly outcome: TokenOutcome;
}
