/** A write to all shards (FLUSHALL): in a cluster, to those that this node leads. */
import { type ByteString, errorReply, type RaftsealError, type Reply } from '@raftseal/interface';
import { encodeCommand } from '@raftseal/kv';
import type { Client } from './client.ts';
import { internalError, readOnlyNode } from './reply-texts.ts';

/**
 * Proposes the command to every shard that is served here.
 * @returns undefined: the reply comes later. It is that of the shards, or the first error. A shard
 *   that another node leads by now is none of this node's and counts for nothing.
 */
export function broadcast(client: Client, args: readonly ByteString[]): Reply | undefined {
  const shards = client.server.router.servedShards;
  if (shards.length === 0) return errorReply(readOnlyNode);
  const resume = client.suspend();
  const command = encodeCommand(args);
  const replies: Reply[] = [];
  const errors: RaftsealError[] = [];
  const done = (error: RaftsealError | null, reply: Reply): void => {
    if (error === null) replies.push(reply);
    else errors.push(error);
    if (replies.length + errors.length === shards.length) resume(outcome(client, replies, errors));
  };
  for (const shard of shards) shard.propose(command, done);
  return undefined;
}

function outcome(
  { server: { keyspace, router } }: Client,
  replies: readonly Reply[],
  errors: readonly RaftsealError[],
): Reply {
  const isOurs = ({ code }: RaftsealError): boolean =>
    keyspace.topology === undefined || code !== 'RAFTSEAL_SHARD_GROUP_NOT_LEADER';
  const [reply] = replies;
  const error = errors.find(isOurs) ?? (reply === undefined ? errors[0] : undefined);
  if (error === undefined) return reply ?? null;
  const text = router.errorText(error, undefined) ?? internalError;
  // Some shards have done it: no word may make a client send it again by itself.
  return errorReply(reply === undefined ? text : text.replace(/^[A-Z]+ /, 'ERR '));
}
