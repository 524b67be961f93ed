/** The listener for Redis clients, with its certificates where it has TLS. */
import type { Logger } from 'pino';
import type { NodeConfig } from './config.ts';
import { type RedisServer, type RedisServerParts, redisServer } from './redis/index.ts';
import type { Teardown } from './teardown.ts';
import { openListenerTls } from './tls-files.ts';

/**
 * Opens it; `teardown` closes it.
 * @throws RAFTSEAL_NODE_PORT, RAFTSEAL_NODE_CERTIFICATE, RAFTSEAL_NODE_SECRET_FILE
 */
export async function openRedisListener(
  { host, port, password, tls }: NodeConfig['redis'],
  parts: Pick<RedisServerParts, 'keyspace' | 'infoSection'>,
  { log, teardown }: { readonly log: Logger; readonly teardown: Teardown },
): Promise<RedisServer> {
  const files = await openListenerTls(tls, {
    onFailure: (error) => log.error({ err: error }, 'renewed certificates cannot be used'),
  });
  teardown.add(() => files?.close());
  // A password is a byte string: each of its UTF-8 bytes is one char code.
  const bytes = password === undefined ? undefined : Buffer.from(password).toString('latin1');
  const redis = redisServer(
    { host, port, password: bytes },
    {
      ...parts,
      tls: files,
      report: ({ level, message, error }) => log[level]({ err: error }, message),
    },
  );
  await redis.listen();
  teardown.add(() => redis.close());
  return redis;
}
