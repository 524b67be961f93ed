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
        if (this.bootstrapped)
          return entry.writers.join() === this.first.writers ? 'no-op' : 'fatal';
        this.bootstrapped = true;
        this.first.writers = entry.writers.join();
        this.writers.push(...entry.writers);
        for (const key of entry.keys) this.#add(key);
        return 'applied';
      }
      case 'register': {
        const key = this.keys.get(entry.dekId);
        if (key === undefined || key.startsWith('index')) return 'fatal';
        const row = `${entry.dekId}/${entry.nodeId}`;
        const last = this.epochs.get(row);
        if (last !== undefined && entry.epoch <= last) return 'no-op';
        if (!this.writers.includes(entry.nodeId)) this.writers.push(entry.nodeId);
        this.epochs.set(row, entry.epoch);
        return 'applied';
      }
      case 'rotate-dek': {
        if (entry.purpose === 'index') return 'fatal';
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
          if (!this.keys.get(entry.dekId)?.startsWith('raft')) return 'fatal';
        }
        this.cutover.set(shardId, index);
        return 'applied';
      }
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
