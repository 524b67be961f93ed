/**
 * The space that etcd has left, and the history that it keeps.
 *
 * A full etcd takes neither appends nor leases until an operator has made room, so appends are
 * refused before: at 80 % of the quota in use, or with a file of 98 % of it. etcd measures the file;
 * this never shrinks by itself, but its free pages are used again.
 */
import type { RaftsealError } from '@raftseal/interface';
import { kindOf } from './call-error.ts';
import type { EtcdClient } from './client.ts';
import { noSpace } from './errors.ts';
import type { EtcdEvent } from './events.ts';
import type { Keys } from './keys.ts';
import { alarmAction, NO_SPACE_ALARM } from './messages.ts';
import { put } from './transaction.ts';
import { Bell } from './waiting.ts';

const IN_USE_SHARE_MAX = 0.8;
const FILE_SHARE_MAX = 0.98;
/** How much a file may grow for each byte appended, free pages left aside. */
const FILE_GROWTH = 1.5;
const POLL_MS = 5_000;
/** From this share of the quota on, a file is looked at more often. */
const WATCHED_FILE_SHARE = 0.7;
const POLL_WATCHED_MS = 1_000;
const POLL_TIMEOUT_MS = 1_500;
const PATIENCE_MS = 10_000;
const DEFRAGMENT_TIMEOUT_MS = 600_000;

export interface SpaceStatus {
  /** Size of the largest member's database file; 0 before a member has answered. */
  readonly dbBytes: number;
  /** How much of it is in use, with what was appended since it was observed. */
  readonly dbBytesInUse: number;
  readonly spaceBytesMax: number;
  /** Appends are refused. */
  readonly isLow: boolean;
}

export class Space {
  readonly #client: EtcdClient;
  readonly #keys: Keys;
  readonly #bytesMax: number;
  readonly #compactAfterMs: number;
  readonly #onEvent: (event: EtcdEvent) => void;
  readonly #wanted = new Bell();
  #fileBytes = 0;
  #inUseBytes = 0;
  /** Appended since the last observation. */
  #writtenBytes = 0;
  #refusal: RaftsealError | undefined;
  /** Oldest first; the first is the newest of those that are old enough to compact. */
  #revisions: { readonly atMs: number; readonly revision: number }[] = [];

  constructor(
    client: EtcdClient,
    keys: Keys,
    options: {
      readonly spaceBytesMax: number;
      readonly compactAfterMs: number;
      readonly onEvent: (event: EtcdEvent) => void;
    },
  ) {
    this.#client = client;
    this.#keys = keys;
    this.#bytesMax = options.spaceBytesMax;
    this.#compactAfterMs = options.compactAfterMs;
    this.#onEvent = options.onEvent;
    void this.#poll();
  }

  /** Why appends are refused, if they are. */
  get refusal(): RaftsealError | undefined {
    return this.#refusal;
  }

  get status(): SpaceStatus {
    return {
      dbBytes: this.#fileBytes,
      dbBytesInUse: this.#inUseBytes + this.#writtenBytes,
      spaceBytesMax: this.#bytesMax,
      isLow: this.#refusal !== undefined,
    };
  }

  noteWritten(byteLength: number): void {
    this.#writtenBytes += byteLength;
    // An estimate refuses nothing: etcd is asked.
    if (this.#refusal === undefined && this.#shortage() !== undefined) this.#wanted.ring();
  }

  /** etcd said that it is full. */
  noteFull(found: string): RaftsealError {
    const refusal = this.#refuse(found);
    this.#wanted.ring();
    return refusal;
  }

  /** Drops the history up to a revision that was observed at least `compactAfterMs` ago. */
  async compact(): Promise<void> {
    await this.#observe();
    const [oldest] = this.#revisions;
    if (oldest === undefined || oldest.atMs > performance.now() - this.#compactAfterMs) return;
    const request = { revision: oldest.revision.toString() };
    try {
      await this.#client.persist('KV.Compact', request, { patienceMs: PATIENCE_MS });
    } catch (error) {
      if (kindOf(error) !== 'compacted') throw error;
    }
  }

  /** Gives back what is free in the files of the members, one after the other. */
  async defragment(): Promise<void> {
    for (const place of this.#client.endpoints.keys()) {
      const options = { place, timeoutMs: DEFRAGMENT_TIMEOUT_MS };
      await this.#client.call('Maintenance.Defragment', {}, options);
    }
    await this.#takeBackAlarms();
    await this.#observe();
  }

  /** Each member that was full has raised an alarm of its own. */
  async #takeBackAlarms(): Promise<void> {
    const patience = { patienceMs: PATIENCE_MS };
    const all = { action: alarmAction.get, memberId: '0', alarm: NO_SPACE_ALARM };
    const { alarms } = await this.#client.persist('Maintenance.Alarm', all, patience);
    for (const { memberId, alarm } of alarms) {
      if (alarm !== NO_SPACE_ALARM) continue;
      const one = { action: alarmAction.deactivate, memberId, alarm };
      await this.#client.persist('Maintenance.Alarm', one, patience);
    }
  }

  async #poll(): Promise<void> {
    const { closing } = this.#client;
    while (!closing.aborted) {
      await this.#observe();
      const isWatched = this.#fileBytes > WATCHED_FILE_SHARE * this.#bytesMax;
      const everyMs = isWatched || this.#refusal !== undefined ? POLL_WATCHED_MS : POLL_MS;
      await this.#wanted.next(everyMs, closing);
    }
  }

  /** Members differ: each has a file of its own, and the fullest one decides. */
  async #observe(): Promise<void> {
    const isWritable = this.#refusal !== undefined && (await this.#nudge());
    const before = this.#writtenBytes;
    const answers = await Promise.all(
      this.#client.endpoints.map((_, place) =>
        this.#client
          .call('Maintenance.Status', {}, { place, timeoutMs: POLL_TIMEOUT_MS })
          .catch(() => undefined),
      ),
    );
    const known = answers.filter((answer) => answer !== undefined);
    if (known.length === 0) {
      // Some releases tell their size to root alone: then a write that is taken says enough.
      if (isWritable) this.#judge(undefined);
      return;
    }
    this.#fileBytes = Math.max(...known.map(({ dbSize }) => Number(dbSize)));
    this.#inUseBytes = Math.max(...known.map(({ dbSizeInUse }) => Number(dbSizeInUse)));
    this.#writtenBytes -= before;
    const revision = Math.max(...known.map(({ header }) => Number(header.revision)));
    if (revision > 0) this.#revisions.push({ atMs: performance.now(), revision });
    this.#forget();
    const isAlarmed = known.some(({ errors }) => errors.some((text) => text.includes('NOSPACE')));
    this.#judge(isAlarmed ? 'etcd has raised its alarm NOSPACE' : this.#shortage());
  }

  /** What a compaction has freed counts as free only after the next change, and nobody makes one. */
  async #nudge(): Promise<boolean> {
    const request = { success: [put(this.#keys.sync, Buffer.alloc(0))] };
    const isTaken = await this.#client.call('KV.Txn', request).then(
      () => true,
      () => false,
    );
    await this.#client.call('KV.DeleteRange', { key: this.#keys.sync }).catch(() => {});
    return isTaken;
  }

  /** What there is too little of, by what was observed and what was appended since. */
  #shortage(): string | undefined {
    const { dbBytesInUse } = this.status;
    const percent = (bytes: number): string => `${((100 * bytes) / this.#bytesMax).toFixed(0)} %`;
    if (dbBytesInUse >= IN_USE_SHARE_MAX * this.#bytesMax) {
      return `${percent(dbBytesInUse)} of ${this.#bytesMax} bytes of etcd are in use`;
    }
    const freeBytes = this.#fileBytes - this.#inUseBytes;
    const grownBytes = Math.max(0, FILE_GROWTH * this.#writtenBytes - freeBytes / 2);
    const fileBytes = this.#fileBytes + grownBytes;
    if (fileBytes < FILE_SHARE_MAX * this.#bytesMax) return undefined;
    return `etcd's file has ${percent(fileBytes)} of ${this.#bytesMax} bytes`;
  }

  #judge(shortage: string | undefined): void {
    if (shortage !== undefined) this.#refuse(shortage);
    else if (this.#refusal !== undefined) {
      this.#refusal = undefined;
      this.#onEvent({ kind: 'space-found', message: 'the log takes entries again' });
    }
  }

  #refuse(found: string): RaftsealError {
    const isNew = this.#refusal === undefined;
    this.#refusal = noSpace(found);
    if (isNew) this.#onEvent({ kind: 'space-low', message: this.#refusal.message });
    return this.#refusal;
  }

  /** Of the observations that are old enough, only the newest is of use. */
  #forget(): void {
    const oldMs = performance.now() - this.#compactAfterMs;
    const old = this.#revisions.filter(({ atMs }) => atMs <= oldMs).length;
    if (old > 1) this.#revisions.splice(0, old - 1);
  }
}
