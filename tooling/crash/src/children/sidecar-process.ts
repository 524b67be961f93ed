/** Writes generations of a sidecar, one after the other, from the one after that of its file. */
import { nodeFileSystem, SidecarFile, type SidecarFileSystem } from '@raftseal/sidecar';
import { mac, stateOf } from '../subjects/key-states.ts';
import { type ProgramOptions, programOptions, runProgram, Teller } from './say.ts';

export interface SidecarProgramOptions extends ProgramOptions {
  readonly writes: number;
}

const options = programOptions<SidecarProgramOptions>();
const { directory, plant, writes } = options;
const sidecar = new SidecarFile({ directory, fileSystem: planted(nodeFileSystem) });
const teller = new Teller(options);
let generation = 0n;

function write(): Promise<void> {
  generation++;
  const state = stateOf(generation);
  return teller.tell(`write ${generation}`, () => sidecar.write(state, mac));
}

function planted(inner: SidecarFileSystem): SidecarFileSystem {
  if (plant === 'no-directory-flush') return { ...inner, syncDirectory: async () => undefined };
  if (plant === 'no-file-flush') {
    const create: SidecarFileSystem['create'] = async (path) => ({
      ...(await inner.create(path)),
      sync: async () => undefined,
    });
    return { ...inner, create };
  }
  if (plant !== 'in-place') return inner;
  return {
    ...inner,
    async create(path) {
      const final = path.replace('.tmp', '');
      await inner.remove(final);
      return inner.create(final);
    },
    rename: async () => undefined,
  };
}

await runProgram(
  async () => {
    generation = (await sidecar.read())?.verify(mac.macKey).generation ?? 0n;
    for (let written = 0; written < writes; written++) await write();
  },
  // Whether it may succeed depends on what failed: after a flush it must not.
  write,
);
