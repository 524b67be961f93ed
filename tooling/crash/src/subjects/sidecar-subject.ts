/** The write of a sidecar: the file is the old or the new one, whole, and what was acknowledged. */
import { mkdir, readdir } from 'node:fs/promises';
import { encodeSidecar, SIDECAR_FILE_NAME, SidecarFile } from '@raftseal/sidecar';
import type { SidecarProgramOptions } from '../children/sidecar-process.ts';
import { highest, type Told } from '../children/told.ts';
import { mac, stateOf } from './key-states.ts';
import { childCommand, problemsOf, type Subject } from './subject.ts';

const WRITES = 2;

export const sidecarSubject: Subject = {
  name: 'sidecar',
  async prepare(directory) {
    await mkdir(directory, { recursive: true });
    await new SidecarFile({ directory }).write(stateOf(1n), mac);
  },
  command: (directory, plant) =>
    childCommand<SidecarProgramOptions>('sidecar', { directory, writes: WRITES, plant }),
  problems: (directory, told) => sidecarProblems(directory, told, 1n),
  plants: { early: 'kill', 'in-place': 'kill', swallow: 'error' },
  mayGoOnAfter: () => false,
};

/** @param atLeast the generation that was there before the program began */
export function sidecarProblems(
  directory: string,
  told: Told,
  atLeast: bigint,
): Promise<readonly string[]> {
  return problemsOf(async () => {
    const generation = await generationIn(directory);
    const low = highest(told.acknowledged, 'write', atLeast);
    const high = highest(told.started, 'write', atLeast);
    if (generation < low || generation > high) {
      return [`generation ${generation} where ${low} to ${high} may be`];
    }
    return await goesOn(directory, generation + 1n);
  });
}

/** 0n where there is no file. @throws where it is not what was written as its generation */
export async function generationIn(directory: string): Promise<bigint> {
  const found = await new SidecarFile({ directory }).read();
  if (found === undefined) return 0n;
  const state = found.verify(mac.macKey);
  const isWhole = encodeSidecar(state, mac).equals(encodeSidecar(stateOf(state.generation), mac));
  if (!isWhole) throw new Error(`generation ${state.generation} is not as it was written`);
  return state.generation;
}

/** The next process writes, and clears away what the other one left. */
async function goesOn(directory: string, generation: bigint): Promise<readonly string[]> {
  const sidecar = new SidecarFile({ directory });
  (await sidecar.read())?.verify(mac.macKey);
  await sidecar.write(stateOf(generation), mac);
  if ((await generationIn(directory)) !== generation) return ['the next write is not there'];
  const files = (await readdir(directory)).filter((name) => name.startsWith(SIDECAR_FILE_NAME));
  return files.length === 1 ? [] : [`${files.join(', ')} are left after the next write`];
}
