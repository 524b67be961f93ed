/** Takes commands into the open transaction of a client. */

import type { Client } from './client.ts';
import { commandSlot } from './command-slot.ts';
import { crossSlot } from './reply-texts.ts';
import type { QueuedCommand } from './session.ts';

/** What a queued command costs beside its arguments, in bytes. */
const COMMAND_OVERHEAD_BYTES = 64;

/**
 * Queues a command; the client has a transaction.
 * @returns undefined, or the text of the error that keeps it out.
 */
export function queueCommand(client: Client, queued: QueuedCommand): string | undefined {
  const { session, server } = client;
  const { command, args } = queued;
  const { transaction } = session;
  if (transaction === undefined) throw new Error('there is no transaction to queue for');
  if (command.kind !== 'server' && server.keyspace.shards.length > 1) {
    if (command.firstKey === 0) {
      return `ERR ${command.name.toUpperCase()} is not possible inside a transaction: there are several shards`;
    }
    const slot = commandSlot(command, args);
    if (slot === undefined || (session.slot ?? slot) !== slot) return crossSlot;
    session.slot = slot;
  }
  let bytes = COMMAND_OVERHEAD_BYTES;
  for (const arg of args) bytes += arg.length + COMMAND_OVERHEAD_BYTES;
  if (transaction.bytes + bytes > server.limits.request.requestBytesMax) {
    return 'ERR the transaction is too large';
  }
  transaction.bytes += bytes;
  transaction.commands.push(queued);
  return undefined;
}
