/** Error replies that more than one command gives, in the words of Redis 7.0. */
import { errorReply, type Reply } from '@raftseal/interface';

export const wrongType: Reply = errorReply(
  'WRONGTYPE Operation against a key holding the wrong kind of value',
);
export const syntaxError: Reply = errorReply('ERR syntax error');
export const notAnInteger: Reply = errorReply('ERR value is not an integer or out of range');
export const notAFloat: Reply = errorReply('ERR value is not a valid float');
export const incrementOverflow: Reply = errorReply('ERR increment or decrement would overflow');
export const incrementNotFinite: Reply = errorReply('ERR increment would produce NaN or Infinity');
export const noSuchKey: Reply = errorReply('ERR no such key');
export const offsetOutOfRange: Reply = errorReply('ERR offset is out of range');
export const outOfRange: Reply = errorReply('ERR value is out of range');
export const stringTooLong: Reply = errorReply(
  'ERR string exceeds maximum allowed size (proto-max-bulk-len)',
);

export function wrongArguments(command: string): Reply {
  return errorReply(`ERR wrong number of arguments for '${command}' command`);
}

export function invalidExpireTime(command: string): Reply {
  return errorReply(`ERR invalid expire time in '${command}' command`);
}
