/**
 * How errors of a shard reach a Redis client: `<word> <code>: <message>`. The word decides what
 * client libraries do by themselves. CLUSTERDOWN and TRYAGAIN make some of them send the command
 * again, so only errors that say "nothing was appended" may have those words. In a cluster the
 * router answers some of them with where the leader is instead.
 *
 * | code | word |
 * | --- | --- |
 * | RAFTSEAL_SHARD_GROUP_NOT_LEADER, RAFTSEAL_SHARD_GROUP_STOPPED | CLUSTERDOWN |
 * | RAFTSEAL_SHARD_GROUP_OVERLOADED | TRYAGAIN |
 * | RAFTSEAL_NODE_NOT_READY | LOADING |
 * | every other code | ERR |
 */
import { codeOf, type ErrorCode } from '@raftseal/interface';

const words: Partial<Record<ErrorCode, string>> = {
  RAFTSEAL_SHARD_GROUP_NOT_LEADER: 'CLUSTERDOWN',
  RAFTSEAL_SHARD_GROUP_STOPPED: 'CLUSTERDOWN',
  RAFTSEAL_SHARD_GROUP_OVERLOADED: 'TRYAGAIN',
  RAFTSEAL_NODE_NOT_READY: 'LOADING',
};

/**
 * The text of the error reply; undefined for what bears no code of ours, which is a fault of the
 * program and whose message is not for clients.
 */
export function shardErrorText(error: unknown): string | undefined {
  const code = codeOf(error);
  if (!code?.startsWith('RAFTSEAL_') || !(error instanceof Error)) return undefined;
  return `${words[code as ErrorCode] ?? 'ERR'} ${code}: ${error.message}`;
}
