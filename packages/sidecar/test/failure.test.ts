/** Errors at every step of a write, over the real file system. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOf, RaftsealError } from '@raftseal/interface';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeFileSystem, SIDECAR_FILE_NAME, SidecarFile } from '../src/index.ts';
import { mac, nextState } from './key-states.ts';
import { inPieces, type Step, stepped, systemError, withHandles } from './stepped-file-system.ts';

let directory = '';
let path = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raftseal-sidecar-'));
  path = join(directory, SIDECAR_FILE_NAME);
});

afterEach(() => rm(directory, { recursive: true }));

/** Steps of one write that reads and writes in pieces. */
async function stepNames(): Promise<string[]> {
  const names: string[] = [];
  const fileSystem = stepped(inPieces(nodeFileSystem, 400), ({ name }) => void names.push(name));
  await new SidecarFile({ directory, fileSystem }).write(nextState(1n), mac);
  return names;
}

async function refusalOf(call: Promise<unknown>): Promise<RaftsealError> {
  const error: unknown = await call.then(
    () => undefined,
    (refused: unknown) => refused,
  );
  expect(error).toBeInstanceOf(RaftsealError);
  return error as RaftsealError;
}

async function generationOnDisk(): Promise<bigint | undefined> {
  return (await new SidecarFile({ directory }).read())?.verify(mac.macKey).generation;
}

describe.each(['EIO', 'ENOSPC', 'EROFS', 'EMFILE'])('%s at any step of a write', (errno) => {
  it('keeps a whole file, removes the temporary one, and halts after a failed fsync', async () => {
    const names = await stepNames();
    expect(names.filter((name) => name.startsWith('sync'))).toEqual(['sync', 'syncDirectory']);
    for (const [at, name] of names.entries()) {
      let failing = true;
      const fail = ({ number }: Step): void => {
        if (failing && number === at + 1) throw systemError(errno);
      };
      const fileSystem = stepped(inPieces(nodeFileSystem, 400), fail);
      await rm(path, { force: true });
      await new SidecarFile({ directory }).write(nextState(1n), mac);
      const sidecar = new SidecarFile({ directory, fileSystem });

      const refusal = await refusalOf(sidecar.write(nextState(2n), mac));
      failing = false;
      expect(await readdir(directory)).toEqual([SIDECAR_FILE_NAME]);
      // After the rename the new file is there, but not durable: it may be either.
      expect(await generationOnDisk()).toBe(name === 'syncDirectory' ? 2n : 1n);
      expect(codeOf(refusal.cause)).toBe(errno);

      const retry = sidecar.write(nextState(3n), mac);
      if (name === 'sync' || name === 'syncDirectory') {
        expect(refusal).toMatchObject({ code: 'RAFTSEAL_SIDECAR_FLUSH_FAILED', fatal: true });
        const halted = await refusalOf(retry);
        expect(halted).toMatchObject({ code: 'RAFTSEAL_SIDECAR_HALTED', fatal: true });
        expect(halted.cause).toBe(refusal);
        expect(await generationOnDisk()).not.toBe(3n);
      } else {
        expect(refusal).toMatchObject({ code: 'RAFTSEAL_SIDECAR_WRITE_FAILED', fatal: false });
        await retry;
        expect(await generationOnDisk()).toBe(3n);
      }
    }
  });

  it('keeps a whole file where everything fails from any step on', async () => {
    const names = await stepNames();
    for (const at of names.keys()) {
      const fileSystem = stepped(inPieces(nodeFileSystem, 400), ({ number }) => {
        if (number > at) throw systemError(errno);
      });
      await rm(path, { force: true });
      await new SidecarFile({ directory }).write(nextState(1n), mac);
      await refusalOf(new SidecarFile({ directory, fileSystem }).write(nextState(2n), mac));
      expect(await generationOnDisk()).toBe(names[at] === 'syncDirectory' ? 2n : 1n);
      // The temporary file may be left; the next process clears it away.
      await new SidecarFile({ directory }).write(nextState(3n), mac);
      expect(await readdir(directory)).toEqual([SIDECAR_FILE_NAME]);
    }
  });
});

describe('a write that the disk shortens or changes', () => {
  it('goes on until every byte is written', async () => {
    for (const piece of [1, 7, 4_096]) {
      const fileSystem = inPieces(nodeFileSystem, piece);
      await new SidecarFile({ directory, fileSystem }).write(nextState(1n, 2_000), mac);
      expect(await generationOnDisk()).toBe(1n);
      await rm(path);
    }
  });

  it('fails where the disk takes no more bytes and reports no error', async () => {
    await new SidecarFile({ directory }).write(nextState(1n), mac);
    const fileSystem = withHandles(nodeFileSystem, (handle) => ({
      write: async (bytes, position) =>
        position >= 100 ? 0 : await handle.write(bytes.subarray(0, 100), position),
    }));
    const sidecar = new SidecarFile({ directory, fileSystem });
    const refusal = await refusalOf(sidecar.write(nextState(2n), mac));
    expect(refusal.code).toBe('RAFTSEAL_SIDECAR_WRITE_FAILED');
    expect(refusal.message).toContain('100 of');
    expect(await generationOnDisk()).toBe(1n);
  });

  it.each([
    ['swallows the end', (bytes: Uint8Array) => bytes.subarray(0, -1)],
    ['changes a byte', (bytes: Uint8Array) => Uint8Array.from(bytes).fill(0, 50, 51)],
    ['adds a byte', (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(1)])],
    ['writes nothing', () => new Uint8Array(0)],
  ])('HAZARD: is refused for good where the disk %s and reports success', async (_name, change) => {
    await new SidecarFile({ directory }).write(nextState(1n), mac);
    const fileSystem = withHandles(nodeFileSystem, (handle) => ({
      async write(bytes, position) {
        await handle.write(change(bytes), position);
        return bytes.length;
      },
    }));
    const sidecar = new SidecarFile({ directory, fileSystem });
    const refusal = await refusalOf(sidecar.write(nextState(2n), mac));
    expect(refusal).toMatchObject({ code: 'RAFTSEAL_SIDECAR_READBACK', fatal: true });
    expect(await generationOnDisk()).toBe(1n);
    expect(await readdir(directory)).toEqual([SIDECAR_FILE_NAME]);
    const halted = await refusalOf(sidecar.write(nextState(3n), mac));
    expect(halted.code).toBe('RAFTSEAL_SIDECAR_HALTED');
  });
});

describe('a read that fails', () => {
  it('says so with a code at every step', async () => {
    await new SidecarFile({ directory }).write(nextState(1n), mac);
    const names: string[] = [];
    const counting = stepped(nodeFileSystem, ({ name }) => void names.push(name));
    await new SidecarFile({ directory, fileSystem: counting }).read();
    for (const at of names.keys()) {
      const fileSystem = stepped(nodeFileSystem, ({ number }) => {
        if (number === at + 1) throw systemError('EIO');
      });
      const refusal = await refusalOf(new SidecarFile({ directory, fileSystem }).read());
      expect(refusal.code).toBe('RAFTSEAL_SIDECAR_READ_FAILED');
    }
  });

  it('does not hold up the calls behind it', async () => {
    await writeFile(path, 'no sidecar', { mode: 0o600 });
    const sidecar = new SidecarFile({ directory });
    const [read, write] = await Promise.allSettled([
      sidecar.read(),
      sidecar.write(nextState(1n), mac),
    ]);
    expect(read.status).toBe('rejected');
    expect(write.status).toBe('fulfilled');
    expect((await readFile(path)).length).toBeGreaterThan(100);
  });
});
