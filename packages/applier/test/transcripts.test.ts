/**
 * Replays test/transcripts/*.txt and compares. After an intended change, run with
 * `TRANSCRIPTS=write` and read the difference: it is the change of the protocol.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { replay } from './transcript.ts';

const directory = new URL('transcripts/', import.meta.url);

describe('the key-lifecycle state machine follows its transcripts', () => {
  const names = readdirSync(directory).filter((name) => name.endsWith('.txt'));

  it.each(names)('%s', async (name) => {
    const file = new URL(name, directory);
    const recorded = readFileSync(file, 'utf8');
    const replayed = await replay(recorded);
    if (process.env.TRANSCRIPTS === 'write') writeFileSync(file, replayed);
    else expect(replayed).toBe(recorded);
  });

  it('finds them', () => {
    expect(names.length).toBeGreaterThanOrEqual(7);
  });

  it('notices an answer that is not the recorded one', async () => {
    const recorded = 'node a\napply 0 1 enable-storage dek=1\n----\napplied\n';
    expect(await replay(recorded)).not.toBe(recorded);
  });
});
