/** Several KEKs at once, over KEKs that do as they are told, and one real one. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  codeOf,
  type KekProvider,
  type KeyRecord,
  RaftsealError,
  type WrapBinding,
} from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { KekSet, type OpenKek } from '../src/kek-set.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const binding: WrapBinding = { clusterId: Buffer.alloc(16, 1), dekId: 9, purpose: 'raft' };

/** A wrap is the URI of the KEK that made it. */
const record = (...kekUris: readonly string[]): KeyRecord => ({
  purpose: 'raft',
  wraps: kekUris.map((kekUri) => ({ kekUri, bytes: Buffer.from(kekUri) })),
  createdAtMs: 0,
  nonceEpoch: 0,
});

/** A KEK that opens the wraps of some URIs, and notes what it was asked for. */
class ScriptedKek implements KekProvider {
  readonly kekUri: string;
  readonly asked: string[] = [];
  isDown = false;
  isClosed = false;
  readonly #opens: readonly string[];

  constructor(kekUri: string, opens: readonly string[] = [kekUri]) {
    this.kekUri = kekUri;
    this.#opens = opens;
  }

  async wrapKey(): Promise<Uint8Array> {
    if (this.isDown) throw new RaftsealError('RAFTSEAL_KEK_UNAVAILABLE', `${this.kekUri} is down`);
    return Buffer.from(this.kekUri);
  }

  async unwrapKey(wrapped: Uint8Array): Promise<Uint8Array> {
    const kekUri = Buffer.from(wrapped).toString();
    this.asked.push(kekUri);
    if (this.isDown) throw new RaftsealError('RAFTSEAL_KEK_UNAVAILABLE', `${this.kekUri} is down`);
    if (!this.#opens.includes(kekUri)) throw new RaftsealError('RAFTSEAL_KEK_MISMATCH', 'other');
    return Buffer.alloc(32, kekUri);
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

/** Opens KEKs by their URI, unless they are down. */
function opening(...keks: readonly ScriptedKek[]): OpenKek {
  return async (uri) => {
    const kek = keks.find(({ kekUri }) => kekUri === uri);
    if (!kek) throw new RaftsealError('RAFTSEAL_NODE_KEK_URI', `${uri} names no KEK`);
    if (!kek.isDown) return kek;
    throw new RaftsealError('RAFTSEAL_KEK_UNAVAILABLE', `${uri} is down`);
  };
}

const asBytes = async (dek: Promise<Uint8Array>): Promise<Buffer> => Buffer.from(await dek);

describe('one KEK', () => {
  it('opens the wrap of its own name first', async () => {
    const kek = new ScriptedKek('own', ['first', 'own']);
    const dek = KekSet.of(kek).unwrap(record('first', 'own'), binding);
    expect(await asBytes(dek)).toEqual(Buffer.alloc(32, 'own'));
    expect(kek.asked).toEqual(['own']);
  });

  it('then any other, in their order: a key file may have moved', async () => {
    const kek = new ScriptedKek('own', ['second']);
    const dek = KekSet.of(kek).unwrap(record('first', 'own', 'second'), binding);
    expect(await asBytes(dek)).toEqual(Buffer.alloc(32, 'second'));
    expect(kek.asked).toEqual(['own', 'first', 'second']);
  });

  it('is refused where it opens none, and named with those that made them', async () => {
    const unwrapped = KekSet.of(new ScriptedKek('own', [])).unwrap(
      record('first', 'second'),
      binding,
    );
    await expect(unwrapped).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_MISMATCH',
      message: expect.stringMatching(/own .*raft DEK 9.*first, second/),
    });
  });

  it('that is out of reach is no mismatch', async () => {
    const kek = new ScriptedKek('own');
    kek.isDown = true;
    await expect(KekSet.of(kek).unwrap(record('own'), binding)).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_UNAVAILABLE',
    });
  });
});

describe('no KEK', () => {
  it('makes no key and opens none', async () => {
    const none = await KekSet.open([]);
    expect([none.isEmpty, none.uris, none.outOfReach]).toEqual([true, [], []]);
    const required = { code: 'RAFTSEAL_NODE_KEK_REQUIRED' };
    await expect(none.unwrap(record('own'), binding)).rejects.toMatchObject(required);
    await expect(none.wrap(randomBytes(32), binding)).rejects.toMatchObject(required);
  });
});

describe('several KEKs', () => {
  it('each wrap a new key, and any of them opens it', async () => {
    const keks = [new ScriptedKek('here'), new ScriptedKek('there')];
    const wraps = await KekSet.of(...keks).wrap(randomBytes(32), binding);
    expect(wraps.map(({ kekUri }) => kekUri)).toEqual(['here', 'there']);
    for (const kek of keks) {
      const dek = KekSet.of(kek).unwrap({ ...record(), wraps }, binding);
      expect(await asBytes(dek)).toEqual(Buffer.alloc(32, kek.kekUri));
    }
  });

  it('open keys while one is out of reach, and make none', async () => {
    const [here, there] = [new ScriptedKek('here'), new ScriptedKek('there')];
    const keks = KekSet.of(here, there);
    here.isDown = true;
    const dek = keks.unwrap(record('here', 'there'), binding);
    expect(await asBytes(dek)).toEqual(Buffer.alloc(32, 'there'));
    await expect(keks.wrap(randomBytes(32), binding)).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_UNAVAILABLE',
      message: expect.stringContaining('here'),
    });
    here.isDown = false;
    expect(await keks.wrap(randomBytes(32), binding)).toHaveLength(2);
  });

  it('are not waited for twice where one is out of reach, nor first where it was so before', async () => {
    const [here, there] = [new ScriptedKek('here'), new ScriptedKek('there')];
    here.isDown = true;
    const dek = KekSet.of(here, there).unwrap(record('other', 'here', 'there'), binding);
    expect(await asBytes(dek)).toEqual(Buffer.alloc(32, 'there'));
    expect(here.asked).toEqual(['here']);
    let opened = 0;
    const open = opening(here, there);
    const keks = await KekSet.open(['here', 'there'], (uri) => {
      opened += 1;
      return open(uri);
    });
    await keks.unwrap(record('here', 'there'), binding);
    expect(opened).toBe(2);
  });

  it('say that one is out of reach rather than that the other does not fit', async () => {
    const [here, there] = [new ScriptedKek('here'), new ScriptedKek('there')];
    here.isDown = true;
    const unwrapped = KekSet.of(there, here).unwrap(record('here'), binding);
    await expect(unwrapped).rejects.toMatchObject({ code: 'RAFTSEAL_KEK_UNAVAILABLE' });
  });

  it('are opened although one is out of reach, which is opened when it is back', async () => {
    const [here, there] = [new ScriptedKek('here'), new ScriptedKek('there')];
    there.isDown = true;
    const keks = await KekSet.open(['here', 'there'], opening(here, there));
    expect(keks.outOfReach).toEqual([{ uri: 'there', code: 'RAFTSEAL_KEK_UNAVAILABLE' }]);
    expect(await asBytes(keks.unwrap(record('there', 'here'), binding))).toEqual(
      Buffer.alloc(32, 'here'),
    );
    there.isDown = false;
    expect(await keks.wrap(randomBytes(32), binding)).toHaveLength(2);
    expect(keks.outOfReach).toEqual([]);
    await keks.close();
    expect([here.isClosed, there.isClosed]).toEqual([true, true]);
  });

  it('are refused where all are out of reach, or one can never be opened', async () => {
    const [here, there] = [new ScriptedKek('here'), new ScriptedKek('there')];
    const open = opening(here, there);
    const refusal = (...uris: readonly string[]): Promise<unknown> =>
      KekSet.open(uris, open).then(
        () => undefined,
        (error: unknown) => codeOf(error),
      );
    expect(await refusal('here', 'nowhere')).toBe('RAFTSEAL_NODE_KEK_URI');
    expect(here.isClosed).toBe(true);
    there.isDown = true;
    here.isDown = true;
    expect(await refusal('here', 'there')).toBe('RAFTSEAL_KEK_UNAVAILABLE');
  });

  it('are different ones, however they are written', async () => {
    const path = join(temporaryDirectory(), 'kek');
    writeFileSync(path, randomBytes(32), { mode: 0o600 });
    await expect(KekSet.open([`file:${path}`, `file://${path}`])).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_KEK_TWICE',
    });
  });
});

describe('going over to other KEKs', () => {
  it('opens the new ones, closes those that are left, and keeps what is in both', async () => {
    const [a, b, c] = [new ScriptedKek('a'), new ScriptedKek('b'), new ScriptedKek('c')];
    const keks = await KekSet.open(['a', 'b'], opening(a, b, c));
    await keks.use(['b', 'c'], async (next) => {
      expect(next.uris).toEqual(['b', 'c']);
      expect(keks.uris).toEqual(['a', 'b']);
    });
    expect(keks.uris).toEqual(['b', 'c']);
    expect([a, b, c].map(({ isClosed }) => isClosed)).toEqual([true, false, false]);
    expect(await asBytes(keks.unwrap(record('c'), binding))).toEqual(Buffer.alloc(32, 'c'));
  });

  it('changes nothing where one is out of reach, is given twice, or does not pass', async () => {
    const [a, b, c] = [new ScriptedKek('a'), new ScriptedKek('b'), new ScriptedKek('c')];
    const keks = await KekSet.open(['a'], opening(a, b, c));
    c.isDown = true;
    const pass = async (): Promise<void> => undefined;
    const refuse = (): Promise<void> => Promise.reject(new Error('refused'));
    await expect(keks.use(['b', 'c'], pass)).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_UNAVAILABLE',
    });
    await expect(keks.use(['b', 'b'], pass)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_KEK_TWICE',
    });
    await expect(keks.use(['a', 'b'], refuse)).rejects.toThrow('refused');
    expect([keks.uris, a.isClosed, b.isClosed]).toEqual([['a'], false, true]);
    expect(await asBytes(keks.unwrap(record('a'), binding))).toEqual(Buffer.alloc(32, 'a'));
  });
});
