/**
 * Power cuts, or kills, of a node that is alone and under load: as a reply reaches a client, the
 * power of the disk is cut, and nothing that was acknowledged may be gone when the node is back.
 */
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '@raftseal/rigs/random';
import { LoneNode, type NodePorts, verifyProblems } from '../world/lone-node.ts';
import { cutPower } from '../world/power.ts';
import { type ScenarioResult, Tally } from '../world/report.ts';
import { keptDirectory } from '../world/sandbox.ts';
import { NodeLoad } from './node-load.ts';
import type { TestDisk } from './test-disk.ts';

export interface NodeCutsOptions {
  /** Undefined: the node is killed instead of its power cut. */
  readonly disk: TestDisk | undefined;
  readonly scratch: string;
  readonly cuts: number;
  readonly seed: number;
  /** `unflushed`: appends are not flushed. `early`: what was sent counts as acknowledged. */
  readonly plant?: string | undefined;
  readonly print: (line: string) => void;
}

const ACKNOWLEDGEMENTS_MAX = 400;
/** Every so many cuts, all that is stored is verified. */
const VERIFY_EVERY = 10;

export const nodePlants: readonly string[] = ['unflushed', 'early'];

export async function nodeCuts(options: NodeCutsOptions): Promise<ScenarioResult> {
  const { disk, cuts, plant } = options;
  const label = [disk ? `node on ${disk.kind}` : 'node, kill -9', plant].filter(Boolean).join(': ');
  const tally = new Tally(label, plant !== undefined);
  const run = new NodeCuts(options, label);
  try {
    for (let cut = 0; cut < cuts && !(plant !== undefined && tally.violationCount > 0); cut++) {
      const problems = await run.once(cut);
      if (problems === undefined) tally.void();
      else tally.run(disk ? 'at a reply' : 'kill', problems);
      if (problems !== undefined && problems.length > 0) break;
    }
  } finally {
    await run.end();
  }
  return tally.result();
}

class NodeCuts {
  readonly #options: NodeCutsOptions;
  readonly #label: string;
  readonly #random: Random;
  readonly #load: NodeLoad;
  readonly #folder: string;
  readonly #directory: string;
  readonly #node: LoneNode;
  #ports: NodePorts | undefined;

  constructor(options: NodeCutsOptions, label: string) {
    const { disk, scratch, seed, plant } = options;
    this.#options = options;
    this.#label = label;
    this.#random = new Random(seed, label);
    this.#load = new NodeLoad(this.#random, plant === 'early');
    this.#folder = join(scratch, label.replaceAll(/\W+/g, '-'));
    mkdirSync(this.#folder, { recursive: true });
    this.#directory = join(disk?.mountPath ?? this.#folder, 'data');
    const unflushed = new URL('../children/unflushed-node.js', import.meta.url);
    this.#node = new LoneNode({
      directory: this.#directory,
      folder: this.#folder,
      nodeOptions: plant === 'unflushed' ? ['--import', unflushed.href] : [],
    });
  }

  /** @returns what is wrong after one cut; undefined where it did not come to one */
  async once(cut: number): Promise<readonly string[] | undefined> {
    const { disk } = this.#options;
    this.#ports ??= await this.#node.start();
    if (!(await this.#cut(this.#ports))) return undefined;
    await this.#node.kill();
    this.#ports = undefined;
    if (disk) {
      await disk.unmount();
      await disk.mount();
    }
    const problems = await this.#problems(cut);
    if (problems.length > 0) this.#keep(cut, problems);
    return problems;
  }

  async end(): Promise<void> {
    await this.#node.kill();
    rmSync(this.#directory, { recursive: true, force: true });
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Loads the node, and cuts its power in the turn of a reply. @returns whether that was done */
  async #cut(ports: NodePorts): Promise<boolean> {
    const { disk } = this.#options;
    const at = 1 + this.#random.below(ACKNOWLEDGEMENTS_MAX);
    let isCut = false;
    await this.#load.run(ports.redis, (count) => {
      if (count !== at) return;
      if (disk) cutPower(disk.mountPath);
      else void this.#node.kill();
      isCut = true;
      this.#load.end();
    });
    return isCut;
  }

  async #problems(cut: number): Promise<readonly string[]> {
    try {
      this.#ports = await this.#node.start();
      const problems = await this.#load.problems(this.#ports.redis);
      if (cut % VERIFY_EVERY !== 0) return problems;
      return [...problems, ...(await verifyProblems(this.#directory, this.#ports))];
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  }

  #keep(cut: number, problems: readonly string[]): void {
    const { plant, print } = this.#options;
    if (plant !== undefined) return;
    const kept = keptDirectory();
    cpSync(this.#directory, kept, { recursive: true });
    print(`VIOLATION ${this.#label}, cut ${cut}: ${problems.join('; ')}; kept in ${kept}`);
  }
}
