/**
 * CLUSTER, READONLY, READWRITE and ASKING: what cluster clients ask to find the leader of a slot,
 * and how they ask for reads from a follower. The cluster itself is changed elsewhere.
 */
import type { ByteString, Reply } from '@raftseal/interface';
import { errorReply, okReply } from '@raftseal/interface';
import { SLOT_COUNT, slotOf } from '@raftseal/kv';
import type { Client } from '../client.ts';
import type { ClusterNode, SlotRange } from '../cluster-topology.ts';
import { helpSubcommand, type ServerCommand, serverCommand } from '../command.ts';
import { clusterDisabled, syntaxError } from '../reply-texts.ts';
import { masterOfReplicas, type SlotMap, slotMap } from '../slot-map.ts';

type ClusterRun = (map: SlotMap, client: Client, args: readonly ByteString[]) => Reply;

/** Refuses on a node that is of no cluster. */
function inCluster(run: ClusterRun): ServerCommand['run'] {
  return (client, args) => {
    const { shards, topology } = client.server.keyspace;
    if (topology === undefined) return errorReply(clusterDisabled);
    return run(slotMap(topology, shards), client, args);
  };
}

function text(content: ByteString): Reply {
  return { kind: 'verbatim', format: 'txt', text: content };
}

function slots({ ranges, replicas }: SlotMap): Reply {
  const describe = ({ host, port, id }: ClusterNode): Reply => [
    host,
    port,
    id,
    { kind: 'map', entries: [] },
  ];
  const live = replicas.filter(({ isAlive }) => isAlive).map(describe);
  return ranges.map(({ start, end, master }) => [start, end, describe(master), ...live]);
}

function shardNode(role: 'master' | 'replica', node: ClusterNode): Reply {
  return {
    kind: 'map',
    entries: [
      ['id', node.id],
      ['port', node.port],
      ['ip', node.host],
      ['endpoint', node.host],
      ['role', role],
      ['replication-offset', 0],
      ['health', node.isAlive ? 'online' : 'fail'],
    ],
  };
}

function shards({ nodes, rangesOf, replicas }: SlotMap): Reply {
  const followers = replicas.map((node) => shardNode('replica', node));
  const masters = nodes.filter(({ id }) => rangesOf.has(id));
  return masters.map((node): Reply => {
    const own = rangesOf.get(node.id) ?? [];
    return {
      kind: 'map',
      entries: [
        ['slots', own.flatMap(({ start, end }) => [start, end])],
        ['nodes', [shardNode('master', node), ...followers]],
      ],
    };
  });
}

function slotText({ start, end }: SlotRange): string {
  return start === end ? `${start}` : `${start}-${end}`;
}

/** A line of CLUSTER NODES. @param master of a replica; undefined of a master */
function nodeLine(
  node: ClusterNode,
  { map, master, nowMs }: { map: SlotMap; master: ClusterNode | undefined; nowMs: number },
): string {
  const flags = [master === undefined ? 'master' : 'slave'];
  if (node.isSelf) flags.unshift('myself');
  if (!node.isAlive) flags.push('fail');
  return [
    node.id,
    `${node.host}:${node.port}@${node.peerPort}`,
    flags.join(','),
    master?.id ?? '-',
    0,
    node.isAlive ? nowMs : 0,
    map.epoch,
    node.isAlive ? 'connected' : 'disconnected',
    ...(map.rangesOf.get(node.id) ?? []).map(slotText),
  ].join(' ');
}

function nodes(map: SlotMap, { server }: Client): Reply {
  const nowMs = server.keyspace.nowMs();
  const lines = map.nodes.map((node) => {
    const master = map.replicas.includes(node) ? masterOfReplicas(map) : undefined;
    return `${nodeLine(node, { map, master, nowMs })}\n`;
  });
  return text(lines.join(''));
}

function replicas(map: SlotMap, { server }: Client, args: readonly ByteString[]): Reply {
  const master = map.nodes.find(({ id }) => id === args[2]);
  if (master === undefined) return errorReply(`ERR Unknown node ${args[2]}`);
  if (!map.rangesOf.has(master.id)) return errorReply('ERR The specified node is not a master');
  const nowMs = server.keyspace.nowMs();
  return map.replicas.map((node) => nodeLine(node, { map, master, nowMs }));
}

function info(map: SlotMap): Reply {
  const fields: Readonly<Record<string, string | number>> = {
    cluster_state: map.isElecting ? 'fail' : 'ok',
    cluster_slots_assigned: SLOT_COUNT,
    cluster_slots_ok: SLOT_COUNT - map.slotsDown,
    cluster_slots_pfail: 0,
    cluster_slots_fail: map.slotsDown,
    cluster_known_nodes: map.nodes.length,
    cluster_size: map.rangesOf.size,
    cluster_current_epoch: map.epoch,
    cluster_my_epoch: map.epoch,
    cluster_stats_messages_sent: 0,
    cluster_stats_messages_received: 0,
    total_cluster_links_buffer_limit_exceeded: 0,
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}:${value}\r\n`);
  return text(lines.join(''));
}

const stale = 'stale';
const admin = 'admin stale no_async_loading';

const offered: readonly ServerCommand[] = [
  serverCommand({ name: 'cluster|slots', arity: 2, flags: stale, run: inCluster(slots) }),
  serverCommand({ name: 'cluster|shards', arity: 2, flags: stale, run: inCluster(shards) }),
  serverCommand({ name: 'cluster|nodes', arity: 2, flags: stale, run: inCluster(nodes) }),
  serverCommand({ name: 'cluster|info', arity: 2, flags: stale, run: inCluster(info) }),
  serverCommand({
    name: 'cluster|keyslot',
    arity: 3,
    flags: stale,
    run: inCluster((_view, _client, args) => slotOf(args[2] ?? '')),
  }),
  serverCommand({
    name: 'cluster|myid',
    arity: 2,
    flags: stale,
    run: inCluster(({ self }) => self.id),
  }),
  ...['replicas', 'slaves'].map((name) =>
    serverCommand({
      name: `cluster|${name}`,
      arity: 3,
      flags: 'admin stale',
      run: inCluster(replicas),
    }),
  ),
];

const changedElsewhere =
  "is not for clients: members and leaders are changed with raftseal's admin API";
const noSlotIndex = 'is not offered: keys are not indexed by their slot';
const noBus = 'is not offered: raftseal nodes have no Redis cluster bus';

/** Subcommands that are there to be refused in words that help. */
const refusals: readonly (readonly [name: string, arity: number, flags: string, why: string])[] = [
  ['addslots', -3, admin, changedElsewhere],
  ['addslotsrange', -4, admin, changedElsewhere],
  ['bumpepoch', 2, admin, changedElsewhere],
  ['count-failure-reports', 3, 'admin stale', noBus],
  ['countkeysinslot', 3, stale, noSlotIndex],
  ['delslots', -3, admin, changedElsewhere],
  ['delslotsrange', -4, admin, changedElsewhere],
  ['failover', -2, admin, changedElsewhere],
  ['flushslots', 2, admin, changedElsewhere],
  ['forget', 3, admin, changedElsewhere],
  ['getkeysinslot', 4, stale, noSlotIndex],
  ['links', 2, stale, noBus],
  ['meet', -4, admin, changedElsewhere],
  ['replicate', 3, admin, changedElsewhere],
  ['reset', -2, 'admin noscript stale', changedElsewhere],
  ['saveconfig', 2, admin, changedElsewhere],
  ['set-config-epoch', 3, admin, changedElsewhere],
  ['setslot', -4, admin, changedElsewhere],
];

const refused: readonly ServerCommand[] = refusals.map(([name, arity, flags, why]) =>
  serverCommand({
    name: `cluster|${name}`,
    arity,
    flags,
    run: inCluster(() => errorReply(`ERR CLUSTER ${name.toUpperCase()} ${why}`)),
  }),
);

const help = helpSubcommand('cluster', [
  'INFO',
  '    Return information about the cluster.',
  'KEYSLOT <key>',
  '    Return the hash slot for <key>.',
  'MYID',
  '    Return the node id.',
  'NODES',
  '    Return cluster configuration seen by node. Output format:',
  '    <id> <ip:port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...',
  'REPLICAS <node-id>',
  '    Return <node-id> replicas.',
  'SLOTS',
  '    Return information about slots range mappings. Each range is made of:',
  '    start, end, master and replicas IP addresses, ports and ids',
  'SHARDS',
  '    Return information about slot range mappings and the nodes associated with them.',
]);

/** READONLY and READWRITE: whether a client reads from shards that are led elsewhere. */
function readMode(name: string, readsStale: boolean): ServerCommand {
  return serverCommand({
    name,
    arity: 1,
    flags: 'loading stale fast',
    run: ({ server, session }) => {
      if (server.keyspace.topology === undefined) return errorReply(clusterDisabled);
      session.readsStale = readsStale;
      return okReply;
    },
  });
}

export const clusterCommands: readonly ServerCommand[] = [
  serverCommand({
    name: 'cluster',
    arity: -2,
    subcommands: [
      ...offered,
      ...refused,
      { ...help, run: inCluster((_view, client, args) => help.run(client, args) ?? null) },
    ],
    run: () => errorReply(syntaxError),
  }),
  readMode('readonly', true),
  readMode('readwrite', false),
  // Slots never move from one shard to another, so there is nothing that asking first would allow.
  serverCommand({
    name: 'asking',
    arity: 1,
    flags: 'fast',
    run: ({ server }) =>
      server.keyspace.topology === undefined ? errorReply(clusterDisabled) : okReply,
  }),
];
