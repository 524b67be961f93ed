/** Bundles the package the way a web build does, and runs the result where Node's globals are not. */
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import { type BuildOptions, build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));

export interface Bundle {
  readonly code: string;
  /** Source files that went in, relative to the package. */
  readonly inputs: readonly string[];
  /** What it imports at run time. */
  readonly externals: readonly string[];
}

export async function bundle(
  options: Pick<BuildOptions, 'platform' | 'format'> & { readonly conditions?: readonly string[] },
): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    ...options,
    conditions: ['@raftseal/source', ...(options.conditions ?? [])],
    absWorkingDir: root,
    entryPoints: ['src/index.ts'],
    globalName: 'raftsealEnvelope',
    bundle: true,
    minifyWhitespace: true,
    legalComments: 'none',
    write: false,
    metafile: true,
    outdir: 'unused',
  });
  const [output] = Object.values(metafile.outputs);
  return {
    code: outputFiles[0]?.text ?? '',
    inputs: Object.keys(metafile.inputs),
    externals: (output?.imports ?? []).map(({ path }) => path),
  };
}

/** Evaluates the browser bundle in a realm that has no Buffer, no process and no require. */
export async function inBareRealm(): Promise<typeof import('../src/index.ts')> {
  const { code } = await bundle({ platform: 'browser', format: 'iife' });
  const realm = vm.createContext({ TextEncoder });
  return vm.runInContext(`${code}; raftsealEnvelope`, realm);
}
