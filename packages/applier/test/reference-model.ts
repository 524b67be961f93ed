/**
 * The key lifecycle once more, in the plainest way: what the design says, without records, effects
 * or reasons. It shares no code with the state machine that it is compared with.
 */
import type { KeyPurpose } from '@raftseal/interface';
import type { KeyLifecycleEntry } from '../src/index.ts';

export type Answer = 'applied' | 'replayed' | 'no-op' | 'fatal';

export class ReferenceModel {
  bootstrapped = false;
  readonly first = { writers: '' };
  /** DEK id to purpose and content. */
  readonly keys = new Map<number, string>();
  readonly active: Record<KeyPurpose, number> = { storage: 0, raft: 0, index: 0 };
  readonly writers: string[] = [];
  /** `dekId/nodeId` to highest epoch. */
  readonly epochs = new Map<string, number>();
  readonly applied = new Map<number, bigint>();
  readonly cutover = new Map<number, bigint>();
  storageAt: bigint | undefined;
  requestAt: bigint | undefined;
  sealedOnlyAt: bigint | undefined;
  /** By DEK id: the purpose. */
  readonly retired = new Map<number, string>();
  /** By id: content. */
  readonly backups = new Map<string, string>();

  apply(shardId: number, index: bigint, entry: KeyLifecycleEntry): Answer {
    const isMarker = entry.kind === 'enable-raft' && entry.controlIndex > 0n;
    if (isMarker === (shardId === 0)) return 'fatal';
    if (index <= (this.applied.get(shardId) ?? 0n)) return 'replayed';
    if (!this.bootstrapped && entry.kind !== 'bootstrap') return 'fatal';
    const answer = this.#decide(shardId, index, entry);
    if (answer !== 'fatal') this.applied.set(shardId, index);
    return answer;
  }

  #decide(shardId: number, index: bigint, entry: KeyLifecycleEntry): Answer {
    switch (entry.kind) {
      case 'bootstrap': {
        if (this.bootstrapped) {
          const isSame = entry.keys.every((key) => this.keys.get(key.dekId) === content(key));
          return isSame && entry.writers.join() === this.first.writers ? 'no-op' : 'fatal';
        }
        this.bootstrapped = true;
        this.first.writers = entry.writers.join();
        this.writers.push(...entry.writers);
        for (const key of entry.keys) this.#add(key);
        return 'applied';
      }
      case 'register': {
        if (this.retired.has(entry.dekId)) return 'no-op';
        const key = this.keys.get(entry.dekId);
        if (key === undefined || key.startsWith('index')) return 'fatal';
        const row = `${entry.dekId}/${entry.nodeId}`;
        const last = this.epochs.get(row);
        if (last !== undefined && entry.epoch <= last) return 'no-op';
        if (!this.writers.includes(entry.nodeId)) {
          this.writers.push(entry.nodeId);
          for (const purpose of ['storage', 'raft'] as const) {
            this.epochs.set(`${this.active[purpose]}/${entry.nodeId}`, 1);
          }
        }
        this.epochs.set(row, entry.epoch);
        return 'applied';
      }
      case 'rotate-dek': {
        if (this.retired.has(entry.dekId)) return 'fatal';
        const known = this.keys.get(entry.dekId);
        if (known !== undefined) return known === content(entry) ? 'no-op' : 'fatal';
        this.#add(entry);
        return 'applied';
      }
      case 'enable-storage': {
        if (entry.dekId !== this.active.storage || this.storageAt !== undefined) return 'no-op';
        this.storageAt = index;
        return 'applied';
      }
      case 'enable-raft': {
        if (this.cutover.has(shardId)) return 'no-op';
        if (shardId === 0) {
          if (entry.dekId !== this.active.raft) return 'no-op';
          this.requestAt = index;
        } else {
          const from = this.requestAt;
          const to = this.applied.get(0) ?? 0n;
          if (from === undefined || entry.controlIndex < from || entry.controlIndex > to) {
            return 'fatal';
          }
          const named = this.keys.get(entry.dekId) ?? this.retired.get(entry.dekId);
          if (!named?.startsWith('raft')) return 'fatal';
        }
        this.cutover.set(shardId, index);
        return 'applied';
      }
      case 'rewrap-deks': {
        const known = (dekId: number): boolean => this.keys.has(dekId) || this.retired.has(dekId);
        if (!entry.keys.every(({ dekId }) => known(dekId))) return 'fatal';
        let answer: Answer = 'no-op';
        for (const { dekId, wraps } of entry.keys) {
          const [purpose = ''] = this.keys.get(dekId)?.split(' ') ?? [];
          const now = content({ purpose, wraps });
          if (purpose === '' || this.keys.get(dekId) === now) continue;
          this.keys.set(dekId, now);
          answer = 'applied';
        }
        return answer;
      }
      case 'retire-dek': {
        const { dekId } = entry;
        if (this.retired.has(dekId)) return 'no-op';
        if (!this.keys.has(dekId) || Object.values(this.active).includes(dekId)) return 'fatal';
        const needs = new RegExp(`(^|,)${dekId}(,|$)`);
        if ([...this.backups.values()].some((dekIds) => needs.test(dekIds))) return 'fatal';
        this.retired.set(dekId, this.keys.get(dekId)?.split(' ')[0] ?? '');
        this.keys.delete(dekId);
        for (const row of this.epochs.keys()) {
          if (row.startsWith(`${dekId}/`)) this.epochs.delete(row);
        }
        return 'applied';
      }
      case 'enable-sealed-only':
        if (this.sealedOnlyAt !== undefined) return 'no-op';
        if (this.storageAt === undefined || this.requestAt === undefined) return 'fatal';
        this.sealedOnlyAt = index;
        return 'applied';
      case 'register-backup': {
        const dekIds = entry.dekIds.join();
        const known = this.backups.get(entry.backupId);
        if (known !== undefined) return known === dekIds ? 'no-op' : 'fatal';
        if (!entry.dekIds.every((dekId) => this.keys.has(dekId))) return 'fatal';
        this.backups.set(entry.backupId, dekIds);
        return 'applied';
      }
      case 'forget-backup':
        return this.backups.delete(entry.backupId) ? 'applied' : 'no-op';
    }
  }

  #add(key: { dekId: number; purpose: KeyPurpose; wraps: readonly { bytes: Uint8Array }[] }): void {
    this.keys.set(key.dekId, content(key));
    this.active[key.purpose] = key.dekId;
    if (key.purpose === 'index') return;
    for (const nodeId of this.writers) this.epochs.set(`${key.dekId}/${nodeId}`, 1);
  }
}

function content({
  purpose,
  wraps,
}: {
  purpose: string;
  wraps: readonly { bytes: Uint8Array }[];
}): string {
  return `${purpose} ${wraps.map(({ bytes }) => Buffer.from(bytes).toString('hex')).join(' ')}`;
}
