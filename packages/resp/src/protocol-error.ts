/**
 * A request stream that breaks the protocol. The stream cannot be followed any further: the server
 * sends `reply` and closes the connection. The texts of the replies are those of Redis 7.
 */
import { type ErrorCode, RaftsealError } from '@raftseal/interface';

export type ProtocolErrorCode = Extract<ErrorCode, `RAFTSEAL_RESP_${string}`>;

export class ProtocolError extends RaftsealError {
  /** Text of the error reply, from its code word on; one line. */
  readonly reply: string;

  /**
   * `text` is what Redis calls the fault, `expected` what would have been accepted. `detail` may
   * show a byte of the request: it goes into the reply, never into the message.
   */
  constructor(
    code: ProtocolErrorCode,
    { text, expected, detail }: { text: string; expected: string; detail: string },
  ) {
    super(code, `protocol error, ${text}: expected ${expected}; close the connection`);
    this.reply = `ERR Protocol error: ${text}${detail}`;
  }
}
