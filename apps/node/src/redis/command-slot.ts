/** Where the keys of a command belong. */
import type { ByteString } from '@raftseal/interface';
import { type CommandSpec, commandKeys, slotOf } from '@raftseal/kv';

/** In place of a slot: the request has no key. */
export const NO_KEY = -1;

/** The slot that all keys share; `NO_KEY` where there is none; undefined for several slots. */
export function commandSlot(command: CommandSpec, args: readonly ByteString[]): number | undefined {
  const first = args[command.firstKey];
  if (command.firstKey === 0 || first === undefined) return NO_KEY;
  const slot = slotOf(first);
  if (command.lastKey === command.firstKey) return slot;
  return commandKeys(command, args).every((key) => slotOf(key) === slot) ? slot : undefined;
}
