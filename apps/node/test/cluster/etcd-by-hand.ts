/**
 * etcd as somebody sees it who has its keys and is no node: values read, put and deleted one by
 * one, as bytes, through etcd's JSON gateway; and the history of the logs, truncated entries too.
 */
import { randomBytes } from 'node:crypto';
import type { LogEntry } from '@raftseal/interface';
import { encodeEntry } from '@raftseal/raft-engine-etcd';
import type { ClusterPlace } from './running-cluster.ts';

/** An entry as it stands in etcd. */
export interface StoredEntry extends LogEntry {
  readonly shardId: number;
  readonly payload: Buffer;
}

/** Bytes are base64; what is empty is left out. */
interface KeyValue {
  readonly key: string;
  readonly value?: string;
}

interface WatchEvent {
  /** Left out for a put. */
  readonly type?: 'DELETE';
  readonly kv: KeyValue;
}

const TERM_OFFSET = 1;
const PAYLOAD_OFFSET = 13;
const TIMEOUT_MS = 10_000;

export class EtcdByHand {
  readonly #endpoint: string;
  readonly #prefix: string;

  constructor({ etcd, prefix }: Pick<ClusterPlace, 'etcd' | 'prefix'>) {
    const [endpoint] = etcd.endpoints;
    if (endpoint === undefined) throw new RangeError('etcd has an endpoint');
    this.#endpoint = endpoint;
    this.#prefix = prefix;
  }

  /** @param name what stands after the prefix of the cluster, such as `leaders/0` */
  async get(name: string): Promise<Buffer | undefined> {
    const [found] = await this.#range({ key: base64(this.#key(name)) });
    return found && bytesOf(found.value);
  }

  /** Names of all keys that begin so. */
  async names(under: string): Promise<string[]> {
    const found = await this.#range({ ...this.#under(under), keys_only: true });
    return found.map(({ key }) =>
      bytesOf(key)
        .toString()
        .slice(this.#prefix.length + 1),
    );
  }

  async put(name: string, value: Uint8Array | string): Promise<void> {
    await this.#call('kv/put', { key: base64(this.#key(name)), value: base64(value) });
  }

  /** Puts a key that was not there; false where it is there again by then. */
  async #create(name: string, value: string): Promise<boolean> {
    const key = base64(this.#key(name));
    const { succeeded } = (await this.#call('kv/txn', {
      compare: [{ target: 'VERSION', key, version: '0' }],
      success: [{ request_put: { key, value: base64(value) } }],
    })) as { readonly succeeded?: boolean };
    return succeeded === true;
  }

  /** Takes a key away and puts it anew, however fast others put theirs in between. */
  async replace(name: string, value: string): Promise<void> {
    do await this.remove(name);
    while (!(await this.#create(name, value)));
  }

  async remove(name: string): Promise<void> {
    await this.#call('kv/deleterange', { key: base64(this.#key(name)) });
  }

  /** The entries of a shard that are there, in the order of their indexes. */
  async entries(shardId: number): Promise<StoredEntry[]> {
    return (await this.#range(this.#under(`logs/${shardId}/`))).map((kv) => this.#entry(kv));
  }

  /** The last entry of a shard, which must be there. */
  async head(shardId: number): Promise<StoredEntry> {
    const head = (await this.entries(shardId)).at(-1);
    if (head) return head;
    throw new Error(`the log of shard ${shardId} has no entry`);
  }

  async entry(shardId: number, index: bigint): Promise<StoredEntry> {
    const found = (await this.entries(shardId)).find((entry) => entry.index === index);
    if (found) return found;
    throw new Error(`the log of shard ${shardId} has no entry ${index}`);
  }

  /** Puts an entry where it says that it stands, with the checksum that is right there. */
  async putEntry({ shardId, ...entry }: StoredEntry): Promise<void> {
    await this.put(entryName(shardId, entry.index), encodeEntry(shardId, entry));
  }

  /** Every entry that was ever put into the logs, in that order, as long as etcd remembers. */
  async history(): Promise<StoredEntry[]> {
    const mark = randomBytes(8).toString('hex');
    await this.put('mark', mark);
    const entries: StoredEntry[] = [];
    for await (const { type, kv } of this.#changes()) {
      const name = bytesOf(kv.key)
        .toString()
        .slice(this.#prefix.length + 1);
      if (name === 'mark' && bytesOf(kv.value).toString() === mark) return entries;
      if (name.startsWith('logs/') && type !== 'DELETE') entries.push(this.#entry(kv));
    }
    throw new Error('the history of etcd ended early: was it compacted?');
  }

  /** From the first one on; goes on until it is left. */
  async *#changes(): AsyncGenerator<WatchEvent> {
    const request = { ...this.#under(''), start_revision: '1' };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await this.#post('watch', { create_request: request }, signal);
    if (!response.body) throw new Error('a watch is answered with a body');
    let text = '';
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      const lines = `${text}${piece}`.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        const { result } = JSON.parse(line) as { result?: { events?: WatchEvent[] } };
        yield* result?.events ?? [];
      }
    }
  }

  #entry({ key, value }: KeyValue): StoredEntry {
    const [, shard, digits] = bytesOf(key)
      .toString()
      .slice(this.#prefix.length + 1)
      .split('/');
    const bytes = bytesOf(value);
    return {
      shardId: Number(shard),
      index: BigInt(`0x${digits}`),
      term: bytes.readBigUInt64BE(TERM_OFFSET),
      payload: bytes.subarray(PAYLOAD_OFFSET),
    };
  }

  #key(name: string): Buffer {
    return Buffer.from(`${this.#prefix}/${name}`);
  }

  #under(names: string): { readonly key: string; readonly range_end: string } {
    const end = this.#key(names);
    end.writeUInt8(end.readUInt8(end.length - 1) + 1, end.length - 1);
    return { key: base64(this.#key(names)), range_end: base64(end) };
  }

  async #range(request: object): Promise<readonly KeyValue[]> {
    const reply = (await this.#call('kv/range', request)) as { readonly kvs?: KeyValue[] };
    return reply.kvs ?? [];
  }

  async #call(path: string, body: object): Promise<unknown> {
    return (await this.#post(path, body, AbortSignal.timeout(TIMEOUT_MS))).json();
  }

  async #post(path: string, body: object, signal: AbortSignal): Promise<Response> {
    const url = `${this.#endpoint}/v3/${path}`;
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(body), signal });
    if (response.ok) return response;
    throw new Error(`etcd answers ${path} with ${await response.text()}`);
  }
}

export function entryName(shardId: number, index: bigint): string {
  return `logs/${shardId}/${index.toString(16).padStart(16, '0')}`;
}

function base64(value: Uint8Array | string): string {
  return Buffer.from(value as Uint8Array).toString('base64');
}

function bytesOf(text: string | undefined): Buffer {
  return Buffer.from(text ?? '', 'base64');
}
