import { randomBytes } from 'node:crypto';
import { type KekProvider, RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { type KekTimeLimits, openRemoteKek, TransientKekFailure } from '../src/index.ts';
import { type MemoryService, memoryService } from './memory-service.ts';

const binding = { clusterId: randomBytes(16), dekId: 4, purpose: 'storage' } as const;
const dek = randomBytes(32);
const limits = { attemptMs: 1_000, callMs: 20_000 };

const open = (service: MemoryService, wanted: Partial<KekTimeLimits> = limits) =>
  openRemoteKek({ kekUri: 'memory:kek', service, limits: wanted });
const refusal = (code: string, text = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

/** Fails an attempt as often as said, then lets all pass. */
function failing(times: number, failure: () => Error): () => void {
  let left = times;
  return () => {
    left -= 1;
    if (left >= 0) throw failure();
  };
}

/** Resolves when the signal aborts, or never. */
const silence = (signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal?.addEventListener('abort', () => resolve()));

describe('a transient failure', () => {
  it('is tried again until it passes', async () => {
    const service = memoryService(failing(4, () => new TransientKekFailure('busy')));
    const kek = await open(service);
    const wrapped = await kek.wrapKey(dek, binding);
    expect(service.attempts).toBe(5);
    expect(dek.equals(await kek.unwrapKey(wrapped, binding))).toBe(true);
    expect(service.attempts).toBe(6);
    await kek.close();
  });

  it('that stays ends with what the last attempt found', async () => {
    const service = memoryService(() => {
      throw new TransientKekFailure(`busy ${service.attempts}`);
    });
    const kek = await open(service, { callMs: 400 });
    const found = await kek.wrapKey(dek, binding).catch((error: unknown) => error);
    expect(service.attempts).toBeGreaterThan(1);
    const { attempts } = service;
    expect(found).toEqual(
      refusal('RAFTSEAL_KEK_UNAVAILABLE', `busy ${attempts} (failed attempts: ${attempts})`),
    );
    await kek.close();
  });

  it('is not tried again within the time that the service asks for', async () => {
    const service = memoryService(() => {
      throw new TransientKekFailure('come back later', 60_000);
    });
    const kek = await open(service);
    await expect(kek.wrapKey(dek, binding)).rejects.toEqual(
      refusal('RAFTSEAL_KEK_UNAVAILABLE', 'come back later'),
    );
    expect(service.attempts).toBe(1);
    await kek.close();
  });

  it('is an attempt without an answer, too', async () => {
    let isFirst = true;
    const service = memoryService((signal) => {
      if (!isFirst) return;
      isFirst = false;
      return silence(signal);
    });
    const kek = await open(service, { attemptMs: 200, callMs: 20_000 });
    await kek.wrapKey(dek, binding);
    expect(service.attempts).toBeGreaterThan(1);
    await kek.close();
  });
});

describe('a refusal', () => {
  it('is not tried again', async () => {
    const service = memoryService(() => {
      throw new RaftsealError('RAFTSEAL_KEK_DENIED', 'no');
    });
    const kek = await open(service);
    await expect(kek.wrapKey(dek, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_DENIED', 'no'));
    expect(service.attempts).toBe(1);
    await kek.close();
  });

  it('of a wrap names the DEK, the KEK and what was found', async () => {
    const kek = await open(memoryService());
    const wrapped = await kek.wrapKey(dek, binding);
    const moved = kek.unwrapKey(wrapped, { ...binding, dekId: 9 });
    await expect(moved).rejects.toEqual(
      refusal('RAFTSEAL_KEK_MISMATCH', 'storage DEK 9 made under memory:kek'),
    );
    await kek.close();
  });

  it('meets a wrap of no length, or far too long, before the service sees it', async () => {
    const service = memoryService();
    const kek = await open(service);
    for (const length of [0, 16_385]) {
      const call = kek.unwrapKey(Buffer.alloc(length), binding);
      await expect(call).rejects.toEqual(refusal('RAFTSEAL_KEK_MISMATCH', `${length} bytes`));
    }
    expect(service.attempts).toBe(0);
    await kek.close();
  });

  it('meets a service that opens a wrap to something else than a DEK', async () => {
    for (const length of [0, 31, 33, 64]) {
      const given = randomBytes(length);
      const service = { ...memoryService(), unwrap: async () => given };
      const kek = await openRemoteKek({ kekUri: 'memory:kek', service });
      await expect(kek.unwrapKey(Buffer.alloc(60), binding)).rejects.toEqual(
        refusal('RAFTSEAL_KEK_MISMATCH', `${length} bytes`),
      );
      expect(given.every((byte) => byte === 0)).toBe(true);
      await kek.close();
    }
  });

  it('meets a binding that is none', async () => {
    const kek = await open(memoryService());
    for (const wrong of [{ clusterId: Buffer.alloc(15) }, { dekId: 0 }, { dekId: 2 ** 32 }]) {
      await expect(kek.wrapKey(dek, { ...binding, ...wrong })).rejects.toThrow(RangeError);
    }
    await kek.close();
  });
});

describe('the time of a call', () => {
  it('ends, even where the service does not heed its signal', async () => {
    const service = { ...memoryService(), wrap: () => silence().then(() => Buffer.alloc(1)) };
    const kek = await openRemoteKek({ kekUri: 'memory:kek', service, limits: { callMs: 100 } });
    await expect(kek.wrapKey(dek, binding)).rejects.toEqual(
      refusal('RAFTSEAL_KEK_UNAVAILABLE', 'no answer within 100 ms'),
    );
    await kek.close();
  });

  it('wipes a DEK that comes when nobody waits for it any more', async () => {
    const late = Buffer.from(dek);
    let arrive = (): void => undefined;
    const service = {
      ...memoryService(),
      unwrap: () =>
        new Promise<Uint8Array>((resolve) => {
          arrive = () => resolve(late);
        }),
    };
    const kek = await openRemoteKek({ kekUri: 'memory:kek', service, limits: { callMs: 100 } });
    await expect(kek.unwrapKey(Buffer.alloc(60), binding)).rejects.toEqual(
      refusal('RAFTSEAL_KEK_UNAVAILABLE'),
    );
    arrive();
    await new Promise(setImmediate);
    expect(late.every((byte) => byte === 0)).toBe(true);
    await kek.close();
  });

  it('is a positive number of milliseconds', async () => {
    for (const callMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      await expect(open(memoryService(), { callMs })).rejects.toThrow(RangeError);
    }
  });

  it('bounds the check before a provider is handed out, and closes the service', async () => {
    const service = Object.assign(memoryService(), { check: () => silence() });
    const opening = openRemoteKek({ kekUri: 'memory:kek', service, limits: { callMs: 100 } });
    await expect(opening).rejects.toEqual(refusal('RAFTSEAL_KEK_UNAVAILABLE'));
    expect(service.isClosed).toBe(true);
  });
});

describe('closing', () => {
  it('ends the calls under way, and those that wait to be tried again', async () => {
    for (const before of [
      silence,
      () => {
        throw new TransientKekFailure('busy', 5_000);
      },
    ]) {
      const service = memoryService(before);
      const kek: KekProvider = await open(service);
      const calls = Array.from({ length: 20 }, () => kek.wrapKey(dek, binding));
      const settled = Promise.allSettled(calls);
      await new Promise(setImmediate);
      await kek.close();
      for (const outcome of await settled) {
        expect(outcome).toEqual({ status: 'rejected', reason: refusal('RAFTSEAL_KEK_CLOSED') });
      }
      expect(service.isClosed).toBe(true);
    }
  });
});
