/** Takes commands into the open transaction of a client. */

import type { ByteString } from '@raftseal/interface';
import type { CommandSpec } from '@raftseal/kv';
import type { Client } from './client.ts';
import { NO_KEY } from './command-slot.ts';
import { crossSlot, readOnlyNode } from './reply-texts.ts';
import type { QueuedCommand } from './session.ts';

/** What a queued command costs beside its arguments, in bytes. */
const COMMAND_OVERHEAD_BYTES = 64;

/** Takes the slot of a data command for the transaction, or says why it cannot. */
function slotRefusal(
  { session, server: { keyspace, router } }: Client,
  command: CommandSpec,
  args: readonly ByteString[],
): string | undefined {
  if (command.firstKey === 0) {
    if (keyspace.shards.length > 1) {
      return `ERR ${command.name.toUpperCase()} is not possible inside a transaction: there are several shards`;
    }
    return router.servedShards.length === 0 ? readOnlyNode : undefined;
  }
  const slot = router.slotOf(command, args);
  if (slot === undefined) return crossSlot;
  if (slot === NO_KEY) return undefined;
  const readsHere = command.kind === 'read' && session.readsStale;
  const elsewhere = readsHere ? undefined : router.redirection(slot);
  if (elsewhere !== undefined) return elsewhere;
  if ((session.slot ?? slot) !== slot) return crossSlot;
  session.slot = slot;
  return undefined;
}

/**
 * Queues a command; the client has a transaction.
 * @returns undefined, or the text of the error that keeps it out.
 */
export function queueCommand(client: Client, queued: QueuedCommand): string | undefined {
  const { session, server } = client;
  const { command, args } = queued;
  const { transaction } = session;
  if (transaction === undefined) throw new Error('there is no transaction to queue for');
  if (command.kind !== 'server' && server.router.bySlot) {
    const refusal = slotRefusal(client, command, args);
    if (refusal !== undefined) return refusal;
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
