import { describe, expect, it } from 'vitest';
import {
  type Attempt,
  checkAttempts,
  NO_ANSWER,
  outcomeOfFailure,
} from '../../src/keys/attempts.ts';
import { AdminRefusal } from '../../src/world/node-admin.ts';

function attempt(request: Attempt['request'], outcome: string): Attempt {
  return { request, node: 'n1', beganAtMs: 1_000, endedAtMs: 2_000, outcome };
}

const calm = { faults: [], isKmsFaulty: false };

describe('the outcome of a request that failed', () => {
  it('is the code of a refusal', () => {
    const text = '{"code":"RAFTSEAL_NODE_DEK_NEEDED","message":"it is needed"}';
    const found = outcomeOfFailure(new AdminRefusal('/v1/keys/retire', 409, text));
    expect(found.outcome).toBe('RAFTSEAL_NODE_DEK_NEEDED');
    const bare = outcomeOfFailure(new AdminRefusal('/v1/keys/retire', 500, 'oops'));
    expect(checkAttempts([attempt('retire', bare.outcome)], calm)).toHaveLength(1);
  });

  it('tells an answer that is late from a connection that is lost', () => {
    const late = outcomeOfFailure(new DOMException('late', 'TimeoutError'));
    const lost = outcomeOfFailure(new TypeError('fetch failed'));
    expect([late.outcome, lost.outcome]).toEqual([NO_ANSWER, 'connection lost']);
  });
});

describe('the check of what was answered', () => {
  it('takes the refusals that the documentation gives for a request, and no others', () => {
    const needed = 'RAFTSEAL_NODE_DEK_NEEDED';
    expect(checkAttempts([attempt('retire', needed)], calm)).toEqual([]);
    expect(checkAttempts([attempt('rotate', needed)], calm)).toHaveLength(1);
    expect(checkAttempts([attempt('rotate', 'RAFTSEAL_NODE_INTERNAL')], calm)).toHaveLength(1);
  });

  it('lets a key be out of reach only where the key service fails', () => {
    const away = attempt('rotate', 'RAFTSEAL_KEK_UNAVAILABLE');
    expect(checkAttempts([away], calm)).toHaveLength(1);
    expect(checkAttempts([away], { ...calm, isKmsFaulty: true })).toEqual([]);
  });

  it('takes silence for a hang, unless something was broken meanwhile', () => {
    const silent = attempt('rewrap', NO_ANSWER);
    expect(checkAttempts([silent], calm)).toHaveLength(1);
    const faults = [{ beganAtMs: 1_500, endedAtMs: 1_600 }];
    expect(checkAttempts([silent], { ...calm, faults })).toEqual([]);
  });
});
