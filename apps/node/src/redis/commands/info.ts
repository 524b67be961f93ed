/** INFO: the figures of the server, in Redis' sections and names, plus a section `raftseal`. */
import process from 'node:process';
import type { ByteString, Reply } from '@raftseal/interface';
import type { Client, Server } from '../client.ts';
import type { ClusterNode } from '../cluster-topology.ts';
import { type ServerCommand, serverCommand } from '../command.ts';
import { ownMaster } from '../slot-map.ts';
import { REDIS_VERSION } from '../version.ts';

type Line = readonly [name: string, value: string | number | bigint];

/** What clients and tools look at before they read from a replica. */
function replicaLines({ host, port }: ClusterNode): readonly Line[] {
  return [
    ['master_host', host],
    ['master_port', port],
    ['master_link_status', 'up'],
    ['master_sync_in_progress', 0],
    ['slave_read_only', 1],
  ];
}

/** Sections of INFO without an argument, in their order. */
const sections: Readonly<Record<string, (server: Server) => readonly Line[]>> = {
  server: (server) => {
    const uptimeMs = server.keyspace.nowMs() - server.startedAtMs;
    return [
      ['redis_version', REDIS_VERSION],
      ['redis_mode', server.keyspace.topology === undefined ? 'standalone' : 'cluster'],
      ['os', `${process.platform} ${process.arch}`],
      ['arch_bits', 64],
      ['node_version', process.versions.node],
      ['process_id', process.pid],
      ['run_id', server.runId],
      ['tcp_port', server.port],
      ['server_time_usec', server.keyspace.nowMs() * 1000],
      ['uptime_in_seconds', Math.floor(uptimeMs / 1000)],
      ['uptime_in_days', Math.floor(uptimeMs / 86_400_000)],
    ];
  },
  clients: ({ clients, limits }) => [
    ['connected_clients', clients.size],
    ['maxclients', limits.clientsMax],
    ['blocked_clients', 0],
  ],
  memory: () => {
    const { rss, heapUsed, external } = process.memoryUsage();
    return [
      ['used_memory', heapUsed + external],
      ['used_memory_rss', rss],
      ['maxmemory', 0],
      ['maxmemory_policy', 'noeviction'],
    ];
  },
  persistence: () => [
    ['loading', 0],
    ['async_loading', 0],
    ['rdb_changes_since_last_save', 0],
    ['rdb_bgsave_in_progress', 0],
    ['aof_enabled', 1],
    ['aof_rewrite_in_progress', 0],
    ['aof_rewrite_scheduled', 0],
    ['aof_last_write_status', 'ok'],
  ],
  stats: ({ statistics }) => [
    ['total_connections_received', statistics.connectionsAccepted],
    ['total_commands_processed', statistics.commands],
    ['total_net_input_bytes', statistics.bytesReceived],
    ['total_net_output_bytes', statistics.bytesSent],
    ['rejected_connections', statistics.connectionsRefused],
    ['evicted_clients', statistics.clientsEvicted],
    ['total_error_replies', statistics.errorReplies],
    ['acl_access_denied_auth', statistics.authFailures],
    ['protocol_errors', statistics.protocolErrors],
  ],
  replication: ({ keyspace: { shards, topology }, runId }) => {
    const master = ownMaster(topology, shards);
    return [
      ['role', master === undefined ? 'master' : 'slave'],
      ...(master === undefined ? [] : replicaLines(master)),
      ['connected_slaves', 0],
      ['master_replid', runId],
      ['master_repl_offset', 0],
    ];
  },
  cluster: ({ keyspace }) => [['cluster_enabled', keyspace.topology === undefined ? 0 : 1]],
  keyspace: ({ keyspace }) => {
    const serving = keyspace.shards.filter(({ isServing }) => isServing);
    const keys = serving.reduce((sum, shard) => sum + shard.size(), 0);
    // How many keys expire is not counted; monitoring tools want the fields to be there.
    return keys === 0 ? [] : [['db0', `keys=${keys},expires=0,avg_ttl=0`]];
  },
  raftseal: (server) => server.infoSection(),
};

/** Names that stand for all sections. */
const everything: readonly string[] = ['default', 'all', 'everything'];

function info({ server }: Client, args: readonly ByteString[]): Reply {
  const asked = args.slice(1).map((name) => name.toLowerCase());
  const all = asked.length === 0 || asked.some((name) => everything.includes(name));
  const blocks: string[] = [];
  for (const [name, linesOf] of Object.entries(sections)) {
    if (!all && !asked.includes(name)) continue;
    const lines = linesOf(server);
    if (name === 'raftseal' && lines.length === 0) continue;
    const title = `# ${name.charAt(0).toUpperCase()}${name.slice(1)}\r\n`;
    blocks.push(title + lines.map(([key, value]) => `${key}:${value}\r\n`).join(''));
  }
  return { kind: 'verbatim', format: 'txt', text: blocks.join('\r\n') };
}

export const infoCommands: readonly ServerCommand[] = [
  serverCommand({ name: 'info', arity: -1, flags: 'loading stale', run: info }),
];
