import { execFileSync } from 'node:child_process';
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeSidecar, SIDECAR_BYTES_MAX, SIDECAR_FILE_NAME, SidecarFile } from '../src/index.ts';
import { mac, nextState, sampleState, withRecord } from './key-states.ts';

let directory = '';
let path = '';
let sidecar: SidecarFile;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raftseal-sidecar-'));
  path = join(directory, SIDECAR_FILE_NAME);
  sidecar = new SidecarFile({ directory });
});

afterEach(() => rm(directory, { recursive: true }));

const withCode = (code: string) => expect.objectContaining({ code });

describe('SidecarFile.write', () => {
  it('SC-01: puts the encoded state into a file of mode 0600 and leaves nothing else', async () => {
    const umask = process.umask(0);
    try {
      await sidecar.write(sampleState(), mac);
    } finally {
      process.umask(umask);
    }
    expect((await readFile(path)).equals(encodeSidecar(sampleState(), mac))).toBe(true);
    expect((await stat(path)).mode & 0o7777).toBe(0o600);
    expect(await readdir(directory)).toEqual([SIDECAR_FILE_NAME]);
  });

  it('SC-03: takes neither mode nor content from a temporary file left behind', async () => {
    await writeFile(`${path}.tmp`, 'left behind, and longer than any state'.repeat(100));
    await chmod(`${path}.tmp`, 0o666);
    await sidecar.write(sampleState(), mac);
    expect((await stat(path)).mode & 0o7777).toBe(0o600);
    expect((await readFile(path)).equals(encodeSidecar(sampleState(), mac))).toBe(true);
  });

  it('does not write through a link in the place of the temporary file', async () => {
    const target = join(directory, 'target');
    await writeFile(target, 'untouched');
    await symlink(target, `${path}.tmp`);
    await sidecar.write(sampleState(), mac);
    expect(await readFile(target, 'utf8')).toBe('untouched');
    expect((await stat(path)).isFile()).toBe(true);
  });

  it('fails with a code where the temporary name is a directory', async () => {
    await mkdir(`${path}.tmp`);
    await expect(sidecar.write(sampleState(), mac)).rejects.toThrow(
      withCode('RAFTSEAL_SIDECAR_WRITE_FAILED'),
    );
  });

  it('throws TypeError for a state without keys, and creates no file', async () => {
    const before = sampleState({ keys: new Map(), clusterId: undefined });
    await expect(sidecar.write(before, mac)).rejects.toThrow(TypeError);
    expect(await readdir(directory)).toEqual([]);
  });

  it('HAZARD SC-15: refuses what takes something back of the last write, and goes on', async () => {
    await sidecar.write(sampleState(), mac);
    const before = await readFile(path);
    for (const state of [
      sampleState(),
      sampleState({ generation: 6n }),
      sampleState({ generation: 8n, cutoverIndex: new Map() }),
      sampleState({ generation: 8n, appliedIndex: new Map([[0, 1n]]) }),
      { ...withRecord(0x2000_0002, { nonceEpoch: 2 }), generation: 8n },
    ]) {
      await expect(sidecar.write(state, mac)).rejects.toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_SIDECAR_REGRESSION', fatal: true }),
      );
    }
    expect((await readFile(path)).equals(before)).toBe(true);
    await sidecar.write(sampleState({ generation: 8n }), mac);
  });

  it('compares with the state read and verified before the first write', async () => {
    await sidecar.write(sampleState(), mac);
    const restarted = new SidecarFile({ directory });
    (await restarted.read())?.verify(mac.macKey);
    const lowered = { ...withRecord(0x2000_0002, { nonceEpoch: 2 }), generation: 8n };
    await expect(restarted.write(lowered, mac)).rejects.toThrow(
      withCode('RAFTSEAL_SIDECAR_REGRESSION'),
    );
  });

  it('compares with the last write where an older read is verified after it', async () => {
    await sidecar.write(nextState(1n), mac);
    const old = await sidecar.read();
    await sidecar.write(nextState(2n), mac);
    old?.verify(mac.macKey);
    await expect(sidecar.write(nextState(2n), mac)).rejects.toThrow(
      withCode('RAFTSEAL_SIDECAR_REGRESSION'),
    );
  });

  it('encodes at once: the MAC key may be wiped when the call has returned', async () => {
    const macKey = Buffer.from(mac.macKey);
    const written = sidecar.write(sampleState(), { ...mac, macKey });
    macKey.fill(0);
    await written;
    expect((await sidecar.read())?.verify(mac.macKey)).toEqual(sampleState());
  });
});

describe('SidecarFile.read', () => {
  it('SC-09: gives undefined where there is no file, a temporary one left behind included', async () => {
    expect(await sidecar.read()).toBeUndefined();
    await writeFile(`${path}.tmp`, encodeSidecar(sampleState(), mac));
    expect(await sidecar.read()).toBeUndefined();
  });

  it('refuses a missing directory: an unmounted volume is no fresh node', async () => {
    const unmounted = new SidecarFile({ directory: join(directory, 'volume') });
    await expect(unmounted.read()).rejects.toThrow(withCode('RAFTSEAL_SIDECAR_DIRECTORY_MISSING'));
    await writeFile(join(directory, 'file'), '');
    const throughFile = new SidecarFile({ directory: join(directory, 'file') });
    await expect(throughFile.read()).rejects.toThrow(
      withCode('RAFTSEAL_SIDECAR_DIRECTORY_MISSING'),
    );
  });

  it('gives back what was written, unverified until the MAC key is there', async () => {
    await sidecar.write(sampleState(), mac);
    const found = await new SidecarFile({ directory }).read();
    expect(found?.macDekId).toBe(mac.dekId);
    expect(found?.verify(mac.macKey)).toEqual(sampleState());
    expect(() => found?.verify(Buffer.alloc(32, 1))).toThrow(withCode('RAFTSEAL_SIDECAR_MAC'));
  });

  it('SC-08: refuses an empty file', async () => {
    await writeFile(path, '', { mode: 0o600 });
    await expect(sidecar.read()).rejects.toThrow(withCode('RAFTSEAL_SIDECAR_LENGTH'));
  });

  it('refuses a huge file without reading it', async () => {
    await writeFile(path, encodeSidecar(sampleState(), mac), { mode: 0o600 });
    await truncate(path, 2 ** 40);
    await expect(sidecar.read()).rejects.toThrow(withCode('RAFTSEAL_SIDECAR_TOO_LARGE'));
    await truncate(path, SIDECAR_BYTES_MAX);
    await expect(sidecar.read()).rejects.toThrow(withCode('RAFTSEAL_SIDECAR_LENGTH'));
  });

  it('refuses a symbolic link, though it lead to a right file', async () => {
    await writeFile(join(directory, 'real'), encodeSidecar(sampleState(), mac), { mode: 0o600 });
    await symlink('real', path);
    await expect(sidecar.read()).rejects.toThrow(withCode('RAFTSEAL_SIDECAR_NOT_REGULAR'));
    await rm(path);
    await symlink('nowhere', path);
    await expect(sidecar.read()).rejects.toThrow(withCode('RAFTSEAL_SIDECAR_NOT_REGULAR'));
  });

  it('refuses a directory and a FIFO, at once', async () => {
    await mkdir(path);
    await expect(sidecar.read()).rejects.toThrow(withCode('RAFTSEAL_SIDECAR_NOT_REGULAR'));
    await rm(path, { recursive: true });
    execFileSync('mkfifo', ['-m', '600', path]);
    await expect(sidecar.read()).rejects.toThrow(withCode('RAFTSEAL_SIDECAR_NOT_REGULAR'));
  });

  it('refuses every mode wider than 0600', async () => {
    await sidecar.write(sampleState(), mac);
    for (const mode of [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o700, 0o4600]) {
      await chmod(path, mode);
      await expect(sidecar.read()).rejects.toThrow(withCode('RAFTSEAL_SIDECAR_MODE'));
    }
    for (const mode of [0o600, 0o400]) {
      await chmod(path, mode);
      expect(await sidecar.read()).toBeDefined();
    }
  });
});
