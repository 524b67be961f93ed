/**
 * Starts nodes again that have refused to start because the key service is away, as a supervisor of
 * services does. Any other end of a node stays a problem.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { World } from '../world/world.ts';

const POLL_MS = 200;
const PAUSE_MS = 500;
const LAST_CHARACTERS = 4_000;

/** The one reason to refuse that the documentation gives for a key service that is away. */
const EXCUSE = 'RAFTSEAL_KEK_UNAVAILABLE';

export class Keeper {
  readonly #world: World;
  readonly #stopping = new AbortController();
  #keeping: Promise<void> = Promise.resolve();
  #refusals = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** How often a node has refused to start. */
  get refusals(): number {
    return this.#refusals;
  }

  begin(): void {
    this.#keeping = this.#keep();
  }

  async end(): Promise<void> {
    this.#stopping.abort();
    await this.#keeping;
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      for (const { process } of this.#world.nodes) {
        if (process.unexpectedExit === undefined) continue;
        const output = process.output().slice(-LAST_CHARACTERS);
        if (!lastLine(output).includes(EXCUSE)) continue;
        process.excuseExit();
        this.#refusals++;
        await delay(PAUSE_MS);
        // The nemesis may have been faster.
        if (process.state === 'ended') process.start();
      }
      await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}
