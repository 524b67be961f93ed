/**
 * Appends to the shards of an embedded log as fast as it can, through several segments, and
 * truncates them behind itself.
 */
import { codeOf } from '@raftseal/interface';
import { type EmbeddedLog, openEmbeddedLog } from '@raftseal/raft-engine-embedded';
import { LOG_SEGMENT_BYTES, LOG_SHARDS, payloadOf } from '../subjects/log-payload.ts';
import { logFiles } from './planted-log-files.ts';
import { type ProgramOptions, programOptions, runProgram, say, Teller } from './say.ts';

export interface LogProgramOptions extends ProgramOptions {
  /** Of each shard. */
  readonly appends: number;
  readonly payloadBytes: number;
  /** So many entries after each other, all but the last few are truncated. */
  readonly truncateEvery: number;
}

const KEPT = 4n;

const options = programOptions<LogProgramOptions>();
const { directory, plant, appends, payloadBytes } = options;
const truncateEvery = BigInt(options.truncateEvery);
const teller = new Teller(options);
let log: EmbeddedLog | undefined;
const places = new Map<number, { readonly term: bigint; index: bigint }>();

async function append(shardId: number): Promise<void> {
  const place = places.get(shardId);
  if (log === undefined || place === undefined) return;
  const engine = log.engine(shardId);
  const { term } = place;
  const index = ++place.index;
  const payload = payloadOf(shardId, index, payloadBytes);
  await teller.tell(`${shardId} ${index}`, async () => {
    const { outcome } = await engine.append({ term, index, payload });
    if (outcome !== 'done') throw new Error(outcome);
  });
  if (index % truncateEvery !== 0n) return;
  await teller.tell(`truncate-${shardId} ${index - KEPT}`, () => engine.truncate(index - KEPT));
}

async function appendAll(opened: EmbeddedLog, shardId: number): Promise<void> {
  const { term, headIndex } = await opened.engine(shardId).elect();
  places.set(shardId, { term, index: headIndex });
  for (let count = 0; count < appends; count++) await append(shardId);
}

/** Undefined where the file system does not let it be opened: its errors are passed on. */
async function openLog(): Promise<EmbeddedLog | undefined> {
  const files = logFiles(plant);
  const segmentBytes = LOG_SEGMENT_BYTES;
  const shardIds = LOG_SHARDS;
  try {
    return await openEmbeddedLog({ directory, nodeId: 'a', shardIds, segmentBytes, files });
  } catch (error) {
    if (codeOf(error)?.startsWith('RAFTSEAL_')) throw error;
    say(`refused ${codeOf(error)}`);
    return undefined;
  }
}

await runProgram(
  async () => {
    const opened = await openLog();
    if (opened === undefined) return;
    log = opened;
    await Promise.all(LOG_SHARDS.map((shardId) => appendAll(opened, shardId)));
    await opened.close();
  },
  () => append(0),
);
