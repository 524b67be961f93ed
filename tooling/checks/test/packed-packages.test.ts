import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkConsumer } from '../src/consumer.ts';
import { checkPackedTypes, checkTarballs, type PackedPackage } from '../src/packed-packages.ts';
import { runProgram } from '../src/program.ts';
import { repositoryRoot } from '../src/repository-root.ts';
import { type Files, manifest, workspaceOf } from './fixture.ts';

const good: Files = {
  LICENSE: 'Apache License',
  'README.md': "# kv\n\n```ts\nimport { open } from '@raftseal/kv';\n\nopen();\n```\n",
  'package.json': manifest('kv'),
  'dist/index.js': 'export function open() {}\n',
  'dist/index.d.ts': 'export declare function open(): void;\n',
};

/** One package and its tarball, as `pnpm pack` would lay it out. */
async function packed(changed: Files): Promise<PackedPackage[]> {
  const files = { ...good, ...changed };
  const { root, packages } = workspaceOf(
    Object.fromEntries(Object.entries(files).map(([path, text]) => [`packages/kv/${path}`, text])),
  );
  for (const [path, text] of Object.entries(files)) {
    const target = join(root, 'package', path);
    mkdirSync(dirname(target), { recursive: true });
    if (text !== '') writeFileSync(target, text);
  }
  const [source] = packages;
  if (source === undefined) throw new Error('expected a package');
  const tarball = join(root, 'kv.tgz');
  const result = await runProgram('tar', ['-czf', tarball, 'package'], { cwd: root });
  expect(result).toEqual({ exitCode: 0, output: '' });
  return [{ source, tarball }];
}

async function consume(changed: Files): Promise<string[]> {
  const packages = await packed(changed);
  const directory = join(packages[0]?.source.directory ?? '', '../../consumer');
  mkdirSync(directory);
  return checkConsumer(repositoryRoot, packages, directory);
}

describe('tarballs', () => {
  it('accepts one with all that its manifest points to', async () => {
    expect(await checkTarballs(await packed({}))).toEqual([]);
    expect(await checkPackedTypes(await packed({}))).toEqual([]);
  });

  it.each(['LICENSE', 'README.md', 'dist/index.d.ts', 'dist/index.js'])(
    'finds that %s is missing',
    async (path) => {
      const found = await checkTarballs(await packed({ [path]: '' }));
      expect(found.join('\n')).toContain(path);
    },
  );

  it('finds what the build left', async () => {
    const found = await checkTarballs(await packed({ 'dist/.tsbuildinfo': '{}' }));
    expect(found).toEqual([expect.stringContaining('the tarball has')]);
  });

  it('finds types that do not resolve', async () => {
    const found = await checkPackedTypes(await packed({ 'dist/index.d.ts': '' }));
    expect(found).not.toEqual([]);
  });
});

describe('the consumer', () => {
  it('imports, requires and runs the example of a good package', async () => {
    expect(await consume({})).toEqual([]);
  });

  it('finds a top-level await, which require refuses', async () => {
    const found = await consume({ 'dist/index.js': 'await 0; export function open() {}' });
    expect(found).toEqual([expect.stringContaining('ERR_REQUIRE_ASYNC_MODULE')]);
  });

  it('finds an import that the manifest does not declare', async () => {
    const found = await consume({ 'dist/index.js': "export * from 'typescript';" });
    expect(found.join('\n')).toContain("Cannot find package 'typescript'");
  });

  it('hides from a package what the project has', async () => {
    const resolve = "createRequire(import.meta.url).resolve('@types/node/package.json');";
    const found = await consume({
      'dist/index.js': `import { createRequire } from 'node:module'; ${resolve} export function open() {}`,
    });
    expect(found.join('\n')).toContain("Cannot find module '@types/node/package.json'");
  });

  it('finds an example that fails', async () => {
    const readme = good['README.md']?.replace('open();', "open(); throw new Error('fails');") ?? '';
    const found = await consume({ 'README.md': readme });
    expect(found).toEqual([expect.stringContaining('Error: fails')]);
  });

  it('finds an example that does not compile', async () => {
    const readme = good['README.md']?.replace('open();', 'open(1);') ?? '';
    const found = await consume({ 'README.md': readme });
    expect(found).toEqual([expect.stringContaining('TS2554')]);
  });

  it('finds a command that does not run', async () => {
    const found = await consume({
      'package.json': manifest('kv', { bin: { kv: './dist/main.js' } }),
      'dist/main.js': 'process.exitCode = 3;',
    });
    expect(found).toEqual(['kv --help ended with exit code 3:\n']);
  });

  it('finds a range that only this workspace can resolve', async () => {
    const dependencies = { '@raftseal/interface': 'workspace:^' };
    const found = await consume({ 'package.json': manifest('kv', { dependencies }) });
    expect(found).toEqual(['@raftseal/kv is published with @raftseal/interface@workspace:^']);
  });
});
