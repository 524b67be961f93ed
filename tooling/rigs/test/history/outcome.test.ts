import { describe, expect, it } from 'vitest';
import { outcomeOfError, replyOf } from '../../src/history/outcome.ts';

const outcomeOf = (text: string): string => outcomeOfError(new Error(text)).outcome;

describe('the outcome of a failed command', () => {
  it('is refused where the node says that nothing was done', () => {
    for (const text of [
      'MOVED 7 10.0.0.1:6379',
      'CLUSTERDOWN RAFTSEAL_SHARD_GROUP_NOT_LEADER: no leader',
      'TRYAGAIN RAFTSEAL_SHARD_GROUP_OVERLOADED: full',
      'LOADING RAFTSEAL_NODE_NOT_READY: starting',
      'EXECABORT Transaction discarded because of previous errors.',
      'Too many Cluster redirections. Last error: ReplyError: MOVED 7 10.0.0.1:6379',
    ]) {
      expect(outcomeOf(text), text).toBe('refused');
    }
  });

  it('is a reply like others where a command of Redis fails by its own rules', () => {
    const text = 'ERR value is not an integer or out of range';
    expect(outcomeOfError(new Error(text))).toEqual({
      outcome: 'done',
      replies: [{ error: text }],
    });
  });

  it('is unknown in every other case', () => {
    for (const text of [
      'Connection is closed.',
      'Command timed out',
      'ERR RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN: the write may have been made',
      'Too many Cluster redirections. Last error: Error: Connection is closed.',
      'movedon',
      '',
    ]) {
      expect(outcomeOf(text), text).toBe('unknown');
    }
  });
});

describe('a reply', () => {
  it('is a text, a number, nil or an error', () => {
    expect(['OK', 1, null, new Error('ERR x')].map(replyOf)).toEqual([
      'OK',
      1,
      null,
      { error: 'ERR x' },
    ]);
    expect(() => replyOf(['OK'])).toThrow(TypeError);
  });
});
