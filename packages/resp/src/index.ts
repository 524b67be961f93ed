/**
 * RESP2 and RESP3 for servers: {@link RequestParser} turns the bytes of a client into requests,
 * with a limit on every length; {@link ReplyWriter} turns replies into bytes.
 * @packageDocumentation
 */
export { ProtocolError, type ProtocolErrorCode } from './protocol-error.ts';
export { ReplyWriter, type RespVersion } from './reply-writer.ts';
export {
  defaultRequestLimits,
  type RequestLimits,
  unauthenticatedLimits,
} from './request-limits.ts';
export { RequestParser } from './request-parser.ts';
