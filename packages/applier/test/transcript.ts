/**
 * Scripted transcripts: blocks of commands, a line `----`, and what they answered. A block ends at
 * an empty line; lines that start with `#` before the commands are the reader's.
 *
 * Commands:
 *   node <id>                        start over as this node, with an empty registry
 *   apply <shard> <index> <entry>    apply an entry, effects included
 *   lose-registry / lose-sidecar     as if that part of the disk were new
 *   state / rows                     print it
 *
 * Entries:
 *   bootstrap keys=storage:1,raft:2,index:3 writers=a,b [variant=1]
 *   register node=a dek=1 epoch=2
 *   rotate raft:4 [variant=1]
 *   enable-storage dek=1
 *   enable-raft dek=2 waves=1,2/3            on the control shard; `waves=` for none
 *   enable-raft dek=2 control=5              elsewhere
 *   rewrap 1=file:new,file:kek/2=file:new    by key, its KEKs from here on
 *   retire dek=1
 *   enable-sealed-only
 *   register-backup id=monday deks=1,2
 *   forget-backup id=monday
 */
import type { KeyPurpose, KeyState } from '@raftseal/interface';
import { codeOf } from '@raftseal/interface';
import {
  type Effect,
  initialKeyState,
  type KeyLifecycleEntry,
  MemoryWriterRegistry,
  type NewKey,
  type RewrappedKey,
  type RotateDekEntry,
  transition,
} from '../src/index.ts';
import { describeInstall, describeRow } from './world.ts';

/** Replays the commands of a transcript; the result has fresh answers in place of the old ones. */
export async function replay(transcript: string): Promise<string> {
  const machine = new Machine();
  const blocks = transcript.trimEnd().split(/\n\n+/);
  const answered: string[] = [];
  for (const block of blocks) {
    const [script = '', answers] = block.split(/\n?^----$\n?/m);
    if (answers === undefined) {
      answered.push(block);
      continue;
    }
    const lines = script.split('\n').filter((line) => !line.startsWith('#') && line !== '');
    const output: string[] = [];
    for (const line of lines) output.push(...(await machine.run(line)));
    answered.push([script, '----', ...output].join('\n'));
  }
  return `${answered.join('\n\n')}\n`;
}

class Machine {
  #state: KeyState = initialKeyState('a');
  #registry = new MemoryWriterRegistry();

  async run(line: string): Promise<string[]> {
    const [command = '', ...words] = line.split(' ');
    switch (command) {
      case 'node':
        this.#state = initialKeyState(words[0] ?? '');
        this.#registry = new MemoryWriterRegistry();
        return [];
      case 'lose-registry':
        this.#registry = new MemoryWriterRegistry();
        return [];
      case 'lose-sidecar':
        this.#state = initialKeyState(this.#state.nodeId);
        return [];
      case 'state':
        return describeState(this.#state);
      case 'rows':
        return this.#registry.rows().map(describeRow);
      case 'apply':
        return await this.#apply(words);
      default:
        throw new Error(`unknown command: ${line}`);
    }
  }

  async #apply([shard, index, ...words]: string[]): Promise<string[]> {
    const context = {
      shardId: Number(shard),
      index: BigInt(index ?? 0),
      registry: this.#registry,
    };
    const before = this.#state;
    try {
      const { state, effects, outcome } = transition(before, context, parseEntry(words));
      this.#state = state;
      for (const effect of effects) {
        if (effect.kind === 'writer-rows') await this.#registry.put(effect.rows);
        if (effect.kind === 'unload-deks') await this.#registry.forget(effect.dekIds);
      }
      const reason = outcome.kind === 'no-op' ? `: ${outcome.reason}` : '';
      return [`${outcome.kind}${reason}`, ...effects.map((effect) => `  ${describe(effect)}`)];
    } catch (error) {
      const code = codeOf(error);
      if (code === undefined) throw error;
      const fatal = (error as { fatal?: boolean }).fatal ? 'fatal' : 'NOT FATAL';
      return [`${fatal} ${code}${this.#state === before ? '' : ' CHANGED'}`];
    }
  }
}

function parseEntry([kind = '', ...words]: string[]): KeyLifecycleEntry {
  const named = new Map(words.map((word) => word.split('=') as [string, string]));
  const text = (name: string): string => named.get(name) ?? '';
  const variant = Number(named.get('variant') ?? 0);
  switch (kind) {
    case 'bootstrap':
      return {
        kind,
        clusterId: new Uint8Array(16).fill(1),
        keys: text('keys')
          .split(',')
          .map((key) => parseKey(key, variant)),
        writers: text('writers').split(','),
      };
    case 'register':
      return {
        kind,
        nodeId: text('node'),
        dekId: Number(text('dek')),
        epoch: Number(text('epoch')),
      };
    case 'rotate':
      return parseRotation(parseKey(words[0] ?? '', variant));
    case 'enable-storage':
      return { kind, dekId: Number(text('dek')) };
    case 'enable-raft':
      return {
        kind,
        dekId: Number(text('dek')),
        controlIndex: BigInt(named.get('control') ?? 0),
        waves: named.has('waves') ? parseWaves(text('waves')) : undefined,
      };
    case 'rewrap':
      return { kind: 'rewrap-deks', keys: (words[0] ?? '').split('/').map(parseRewrap) };
    case 'retire':
      return { kind: 'retire-dek', dekId: Number(text('dek')) };
    case 'enable-sealed-only':
      return { kind };
    case 'register-backup': {
      const dekIds = text('deks') === '' ? [] : text('deks').split(',').map(Number);
      return { kind, backupId: text('id'), createdAtMs: 2000, dekIds };
    }
    case 'forget-backup':
      return { kind, backupId: text('id') };
    default:
      throw new Error(`unknown entry: ${kind}`);
  }
}

function parseKey(word: string, variant: number): NewKey {
  const [purpose, dekId] = word.split(':');
  return {
    dekId: Number(dekId),
    purpose: purpose as KeyPurpose,
    wraps: [{ kekUri: 'file:kek', bytes: Uint8Array.of(Number(dekId) & 0xff, variant) }],
    createdAtMs: 1000,
  };
}

function parseRotation(key: NewKey): RotateDekEntry {
  const sealedClusterKeys = new Uint8Array(80).fill(key.dekId);
  return { kind: 'rotate-dek', ...key, ...(key.purpose === 'index' && { sealedClusterKeys }) };
}

function parseRewrap(word: string): RewrappedKey {
  const [dekId, keks = ''] = word.split('=');
  const wraps = keks
    .split(',')
    .map((kekUri) => ({ kekUri, bytes: Uint8Array.of(Number(dekId) & 0xff, kekUri.length) }));
  return { dekId: Number(dekId), wraps };
}

function parseWaves(text: string): number[][] {
  if (text === '') return [];
  return text.split('/').map((wave) => wave.split(',').map(Number));
}

function describe(effect: Effect): string {
  switch (effect.kind) {
    case 'load-deks':
      return `load ${[...effect.keys.keys()].join(' ')}`;
    case 'writer-rows':
      return `rows ${effect.rows.map(describeRow).join(' ')}`;
    case 'sidecar':
      return 'sidecar';
    case 'install':
      return describeInstall(effect);
    case 'unload-deks':
      return `unload ${effect.dekIds.join(' ')}`;
  }
}

function describeState(state: KeyState): string[] {
  const pairs = (map: ReadonlyMap<number, string | bigint>): string =>
    [...map].map(([key, value]) => `${key}:${value}`).join(' ') || 'none';
  const { storage, raft, index } = state.activeDekId;
  const intent = state.cutoverIntent;
  const waves = intent?.waves.map((wave) => wave.join(',')).join('/');
  const keys = [...state.keys].map(([id, key]) => `${id}:${key.purpose}@${key.nonceEpoch}`);
  const retired = [...state.retired].map(([id, key]) => `${id}:${key.purpose}@${key.controlIndex}`);
  const backups = [...state.backups].map(([id, { dekIds }]) => `${id}:${dekIds.join(',')}`);
  return [
    `active storage=${storage} raft=${raft} index=${index}`,
    ...(state.sealedClusterKeys === undefined
      ? []
      : [`cluster keys sealed under ${state.sealedClusterKeys[0]}`]),
    `keys ${keys.join(' ') || 'none'}`,
    `writers ${pairs(state.writers)}`,
    `applied ${pairs(state.appliedIndex)}`,
    `storage sealed from ${state.storageIndex ?? 'never'}`,
    `cutover ${pairs(state.cutoverIndex)}`,
    ...(state.retired.size === 0 ? [] : [`retired ${retired.join(' ')}`]),
    ...(backups.length === 0 ? [] : [`backups ${backups.join(' ')}`]),
    ...(state.sealedOnlyIndex === undefined ? [] : [`sealed only from ${state.sealedOnlyIndex}`]),
    `request ${intent === undefined ? 'none' : `at ${intent.controlIndex} waves [${waves}]`}`,
  ];
}
