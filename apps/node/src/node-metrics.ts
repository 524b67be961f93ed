/** Prometheus metrics of a node, read from its status when they are asked for. */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { NodeStatus } from './admin/operations.ts';
import type { NodeCounters } from './node-counters.ts';

const nothingToRewrite = { rowsTotal: 0, rowsDone: 0, quarantined: 0 };

/** A key that is retired has no value any more. */
const keyGauges = [
  'activeDekId',
  'seals',
  'nonceEpoch',
  'createdAt',
  'deks',
  'sealsOfCluster',
  'budgetLeft',
  'rotationHeldUp',
] as const;

export class NodeMetrics {
  readonly #registry = new Registry();
  readonly #status: () => NodeStatus;
  readonly #gauges: ReturnType<typeof makeGauges>;

  constructor(status: () => NodeStatus, counters: NodeCounters) {
    this.#status = status;
    collectDefaultMetrics({ register: this.#registry });
    counters.register(this.#registry);
    this.#gauges = makeGauges(this.#registry);
  }

  async text(): Promise<{ readonly contentType: string; readonly text: string }> {
    this.#read(this.#status());
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  #read(status: NodeStatus): void {
    const gauges = this.#gauges;
    gauges.clients.set(status.clients);
    for (const shard of status.shards) {
      const labels = { shard: String(shard.shardId) };
      gauges.serving.set(labels, shard.state === 'leading' || shard.state === 'gated' ? 1 : 0);
      gauges.halted.set(labels, shard.haltCode === null ? 0 : 1);
      gauges.sealed.set(labels, shard.log === 'sealed' ? 1 : 0);
      gauges.cutoverIndex.set(labels, Number(shard.cutoverIndex ?? 0));
      gauges.appliedIndex.set(labels, Number(shard.appliedIndex));
      gauges.durableIndex.set(labels, Number(shard.durableIndex));
      gauges.queuedBytes.set(labels, shard.queuedBytes);
      gauges.dirtyBytes.set(labels, shard.dirtyBytes);
      gauges.cacheBytes.set(labels, shard.cacheBytes);
      gauges.rows.set({ ...labels, form: 'sealed' }, shard.rowsSealed);
      gauges.rows.set({ ...labels, form: 'cleartext' }, shard.rowsCleartext);
      const { rowsTotal, rowsDone, quarantined } = shard.rewrite ?? nothingToRewrite;
      gauges.rowsToRewrite.set(labels, Math.max(0, rowsTotal - rowsDone - quarantined));
      gauges.rowsQuarantined.set(labels, quarantined);
    }
    if (status.cluster) {
      const { members, etcdBytes } = status.cluster;
      const alive = members.filter(({ isAlive }) => isAlive).length;
      gauges.members.set({ state: 'alive' }, alive);
      gauges.members.set({ state: 'out_of_reach' }, members.length - alive);
      gauges.shardsWithLeader.set(members.flatMap(({ leads }) => leads).length);
      gauges.etcdBytes.set(etcdBytes);
    }
    this.#readKeys(status);
    gauges.sealedOnly.set(status.sealedOnlyIndex === null ? 0 : 1);
    gauges.backups.set(status.backups.length);
    gauges.auditRecords.set(status.audit.records);
    gauges.auditWritten.set(status.audit.failure === null ? 1 : 0);
    gauges.kekInReach.reset();
    for (const { uri, outOfReach } of status.keks) {
      gauges.kekInReach.set({ kek: uri }, outOfReach === null ? 1 : 0);
    }
    gauges.alarms.reset();
    for (const { name } of status.alarms) gauges.alarms.inc({ name });
  }

  #readKeys(status: NodeStatus): void {
    const gauges = this.#gauges;
    for (const gauge of keyGauges.map((name) => gauges[name])) gauge.reset();
    gauges.deks.set({ state: 'retired' }, status.retiredDekIds.length);
    for (const key of status.keys) {
      const labels = { purpose: key.purpose, dek_id: String(key.dekId) };
      if (key.active) gauges.activeDekId.set({ purpose: key.purpose }, key.dekId);
      gauges.seals.set(labels, Number(key.seals));
      gauges.nonceEpoch.set(labels, key.nonceEpoch);
      gauges.createdAt.set(labels, Date.parse(key.createdAt) / 1000);
      gauges.deks.inc({ state: key.active ? 'active' : 'opens_only' });
      gauges.sealsOfCluster.set(labels, Number(key.sealsOfCluster));
      gauges.budgetLeft.set(labels, key.budgetLeft);
      if (!key.active) continue;
      const isHeldUp = key.nextRotation !== null && key.nextRotation.heldUpBy !== null;
      gauges.rotationHeldUp.set({ purpose: key.purpose }, isHeldUp ? 1 : 0);
    }
  }
}

function makeGauges(registry: Registry) {
  const gauge = (name: string, help: string, labelNames: readonly string[] = []): Gauge =>
    new Gauge({ name: `raftseal_${name}`, help, labelNames, registers: [registry] });
  const perShard = ['shard'];
  const perKey = ['purpose', 'dek_id'];
  return {
    clients: gauge('clients', 'Connected Redis clients.'),
    serving: gauge('shard_serving', '1 while this node serves the shard.', perShard),
    halted: gauge('shard_halted', '1 where a fatal error stopped the shard.', perShard),
    sealed: gauge('shard_sealed', '1 where the log of the shard is cut over.', perShard),
    cutoverIndex: gauge('shard_cutover_index', 'Index of the cutover marker, or 0.', perShard),
    appliedIndex: gauge('shard_applied_index', 'Last applied log index.', perShard),
    durableIndex: gauge('shard_durable_index', 'Last index that the store holds.', perShard),
    queuedBytes: gauge('shard_queued_bytes', 'Commands that wait for their entry.', perShard),
    dirtyBytes: gauge('store_dirty_bytes', 'Changes not yet in the store.', perShard),
    cacheBytes: gauge('store_cache_bytes', 'Opened values in memory.', perShard),
    rows: gauge('store_rows', 'Rows of the store.', ['shard', 'form']),
    rowsToRewrite: gauge('rows_to_rewrite', 'Rows to be brought under a new key.', perShard),
    rowsQuarantined: gauge('rows_quarantined', 'Rows that do not open.', perShard),
    activeDekId: gauge('active_dek_id', 'Data key that new seals use.', ['purpose']),
    seals: gauge('dek_seals', 'Seals drawn by this process.', perKey),
    nonceEpoch: gauge('dek_nonce_epoch', 'Nonce epoch of this node.', perKey),
    sealsOfCluster: gauge('dek_seals_of_cluster', 'Seals of all nodes, restarts included.', perKey),
    budgetLeft: gauge('dek_budget_left', 'Part of the seals that the key is good for.', perKey),
    rotationHeldUp: gauge('dek_rotation_held_up', '1 where a due rotation fails.', ['purpose']),
    createdAt: gauge('dek_created_seconds', 'When the key was made, Unix time.', perKey),
    deks: gauge('deks', 'Data keys.', ['state']),
    sealedOnly: gauge('sealed_only', '1 where nothing in the clear is read any more.'),
    backups: gauge('backups', 'Registered backups.'),
    kekInReach: gauge('kek_in_reach', '1 where the KEK could be opened.', ['kek']),
    auditRecords: gauge('audit_records', 'Sequence of the last record of the audit trail.'),
    auditWritten: gauge('audit_written', '0 while the audit trail cannot be written.'),
    alarms: gauge('alarms', 'What somebody has to look at, as `status` shows it.', ['name']),
    members: gauge('cluster_members', 'Members, as this node sees them.', ['state']),
    shardsWithLeader: gauge('cluster_shards_led', 'Shards that some node is known to lead.'),
    etcdBytes: gauge('etcd_database_bytes', 'Size of the database of etcd.'),
  } as const;
}
