import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { TlsFiles, type TlsFilesParts } from '../src/tls-files.ts';
import { filesOf, type MutualTls, makeCertificates } from './peer/certificates.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const CERTIFICATE = { code: 'RAFTSEAL_NODE_CERTIFICATE' };
const SECRET_FILE = { code: 'RAFTSEAL_NODE_SECRET_FILE' };

const sets = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'raftseal-certificates-')));
for (const set of sets) makeCertificates(set, ['127.0.0.1']);
afterAll(() => {
  for (const set of sets) rmSync(set, { recursive: true, force: true });
});

/** A copy of the first set, to spoil or to replace. */
function newFiles(): MutualTls {
  const directory = temporaryDirectory();
  cpSync(sets[0] ?? '', directory, { recursive: true });
  return filesOf(directory, '127.0.0.1');
}

/** Of another CA. */
const others = filesOf(sets[1] ?? '', '127.0.0.1');

async function opened(files: MutualTls, parts?: TlsFilesParts): Promise<TlsFiles> {
  const tls = await TlsFiles.open(files, parts);
  onTestFinished(() => tls.close());
  return tls;
}

/** Puts other files in the place of those that are in use. */
async function replace(files: MutualTls): Promise<void> {
  await copyFile(others.keyPath, files.keyPath);
  await copyFile(others.certificatePath, files.certificatePath);
  await copyFile(others.caPath, files.caPath);
}

describe('certificates in files', () => {
  it('are read with their key and CA', async () => {
    const files = newFiles();
    const { material } = await opened(files);
    expect(material.cert).toEqual(await readFile(files.certificatePath));
    expect(material.key).toEqual(await readFile(files.keyPath));
    expect(material.ca).toEqual(await readFile(files.caPath));
  });

  it.each([0o644, 0o640, 0o604, 0o660])('are refused with a key of mode %o', async (mode) => {
    const files = newFiles();
    await chmod(files.keyPath, mode);
    await expect(TlsFiles.open(files)).rejects.toMatchObject({
      ...SECRET_FILE,
      message: expect.stringContaining('chmod 600'),
    });
  });

  it('are taken with a key that its owner may only read', async () => {
    const files = newFiles();
    await chmod(files.keyPath, 0o400);
    await opened(files);
  });

  const unusable: readonly (readonly [string, (files: MutualTls) => Promise<unknown>, object])[] = [
    ['no key', async (files) => writeFile(files.keyPath, ''), CERTIFICATE],
    ['the key of another', async (f) => copyFile(others.keyPath, f.keyPath), CERTIFICATE],
    [
      'a certificate for a key',
      async (f) => writeFile(f.keyPath, await readFile(f.caPath)),
      CERTIFICATE,
    ],
    ['no certificate', (files) => writeFile(files.certificatePath, ''), CERTIFICATE],
    ['text for a certificate', (f) => writeFile(f.certificatePath, 'certificate'), CERTIFICATE],
    ['an empty CA', (files) => writeFile(files.caPath, ''), CERTIFICATE],
    ['a CA that is damaged', async (f) => writeFile(f.caPath, await halfOf(f.caPath)), CERTIFICATE],
    ['a CA without end', (f) => writeFile(f.caPath, Buffer.alloc(300_000, 45)), CERTIFICATE],
    ['a key without end', (f) => writeFile(f.keyPath, Buffer.alloc(300_000, 45)), SECRET_FILE],
  ];

  it.each(unusable)('are refused with %s', async (_, spoil, refusal) => {
    const files = newFiles();
    await spoil(files);
    await expect(TlsFiles.open(files)).rejects.toMatchObject(refusal);
  });

  it.each([
    ['keyPath', SECRET_FILE],
    ['certificatePath', CERTIFICATE],
    ['caPath', CERTIFICATE],
  ] as const)(
    'are refused where there is no %s, or a directory in its place',
    async (name, refusal) => {
      const path = join(temporaryDirectory(), 'none');
      const opening = () => TlsFiles.open({ ...newFiles(), [name]: path });
      await expect(opening()).rejects.toMatchObject({
        ...refusal,
        message: expect.stringContaining(`${path}`),
      });
      await mkdir(path, { mode: 0o700 });
      await expect(opening()).rejects.toMatchObject(refusal);
    },
  );

  it('name no content in their refusals', async () => {
    const files = newFiles();
    await writeFile(files.keyPath, '-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n');
    await expect(TlsFiles.open(files)).rejects.toMatchObject({
      message: expect.not.stringContaining('c2VjcmV0'),
    });
  });
});

async function halfOf(path: string): Promise<Buffer> {
  const bytes = await readFile(path);
  return bytes.subarray(0, bytes.length / 2);
}

describe('certificates that are renewed', () => {
  it('are read again by themselves, and whoever uses them is told', async () => {
    const files = newFiles();
    const tls = await opened(files, { pollMs: 5 });
    const changed = new Promise((resolve) => tls.onChange(resolve));
    await replace(files);
    await changed;
    while (!tls.material.ca?.equals(await readFile(others.caPath))) await tls.refresh();
    expect(tls.material.cert).toEqual(await readFile(others.certificatePath));
  });

  it('tell nobody anything where they are the same', async () => {
    const tls = await opened(newFiles());
    let changes = 0;
    tls.onChange(() => changes++);
    await tls.refresh();
    expect(changes).toBe(0);
  });

  it('leave the ones in use where they do not fit together, and that is reported', async () => {
    const files = newFiles();
    const failures: unknown[] = [];
    const tls = await opened(files, { pollMs: 5, onFailure: (error) => failures.push(error) });
    const before = tls.material;
    await copyFile(others.certificatePath, files.certificatePath);
    while (failures.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(failures[0]).toMatchObject(CERTIFICATE);
    await expect(tls.refresh()).rejects.toMatchObject(CERTIFICATE);
    expect(tls.material).toBe(before);
  });
});
