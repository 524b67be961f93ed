/** Where the keys of a command belong. */
import type { ByteString } from '@raftseal/interface';
import { type CommandSpec, commandKeys, slotOf } from '@raftseal/kv';

/** The slot that all keys share; undefined where there is no key or no such slot. */
export function commandSlot(command: CommandSpec, args: readonly ByteString[]): number | undefined {
  const first = args[command.firstKey];
  if (command.firstKey === 0 || first === undefined) return undefined;
  const slot = slotOf(first);
  if (command.lastKey === command.firstKey) return slot;
  return commandKeys(command, args).every((key) => slotOf(key) === slot) ? slot : undefined;
}
