/** Error replies in the words of Redis 7, where several commands share them. */
import type { ByteString } from '@raftseal/interface';

export const syntaxError = 'ERR syntax error';
export const notAnInteger = 'ERR value is not an integer or out of range';
export const noAuth = 'NOAUTH Authentication required.';
export const wrongPassword = 'WRONGPASS invalid username-password pair or user is disabled.';
export const crossSlot = "CROSSSLOT Keys in request don't hash to the same slot";
export const clusterDisabled = 'ERR This instance has cluster support disabled';
export const readOnlyNode = "READONLY You can't write against a read only replica.";
/** The same for every slot: some clients send a pipeline again only where all errors are alike. */
export const noLeader =
  'CLUSTERDOWN RAFTSEAL_SHARD_GROUP_NOT_LEADER: no node is known to lead the shard now: try again';
export const internalError =
  'ERR internal error: the log of the node says more; the connection is closed';

/** Longest part of a name and of its arguments that is shown back, in bytes. */
const SHOWN_BYTES_MAX = 128;

/** C formats a string up to its first NUL. */
function shown(text: ByteString, length: number): ByteString {
  const nul = text.indexOf('\0');
  return text.slice(0, nul < 0 ? length : Math.min(nul, length));
}

export function unknownCommand(args: readonly ByteString[]): string {
  let shownArgs = '';
  for (let i = 1; i < args.length && shownArgs.length < SHOWN_BYTES_MAX; i++) {
    shownArgs += `'${shown(args[i] ?? '', SHOWN_BYTES_MAX - shownArgs.length)}' `;
  }
  const name = shown(args[0] ?? '', SHOWN_BYTES_MAX);
  return `ERR unknown command '${name}', with args beginning with: ${shownArgs}`;
}

export function unknownSubcommand(args: readonly ByteString[]): string {
  const name = shown(args[1] ?? '', SHOWN_BYTES_MAX);
  return `ERR unknown subcommand '${name}'. Try ${(args[0] ?? '').toUpperCase()} HELP.`;
}

/** @param name as COMMAND lists it, such as `get` or `client|id`. */
export function wrongArity(name: string): string {
  return `ERR wrong number of arguments for '${name}' command`;
}

/** A signed 64-bit integer as Redis reads one: no blanks, no plus, no leading zeros. */
export function integerOf(text: ByteString | undefined): bigint | undefined {
  if (text === undefined || !/^(0|-?[1-9][0-9]{0,18})$/.test(text)) return undefined;
  const value = BigInt(text);
  return BigInt.asIntN(64, value) === value ? value : undefined;
}
