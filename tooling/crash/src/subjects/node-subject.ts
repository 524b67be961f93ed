/**
 * A node that is alone, from its first start through bootstrap and cutover to a few writes and its
 * end. Whatever happens, the next start comes up sealed, with everything that was acknowledged.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { highest, type Told } from '../children/told.ts';
import { LoneNode, nodeCommand, portsIn, verifyProblems } from '../world/lone-node.ts';
import { RespClient } from '../world/resp-client.ts';
import {
  type Driver,
  type ProgramEnd,
  problemsOf,
  type RunningProgram,
  type Subject,
} from './subject.ts';

const WRITES = 6;
const POLL_MS = 10;

export const nodeSubject: Subject = {
  name: 'node',
  prepare: async () => undefined,
  command: (directory) => nodeCommand({ directory, folder: dirname(directory) }),
  driver: (plant) => new NodeDriver(plant === 'early'),
  problems: nodeProblems,
  plants: { early: 'kill' },
  mayGoOnAfter: () => true,
};

/** Writes to the node once it listens, and then lets it end. */
class NodeDriver implements Driver {
  readonly #isEarly: boolean;
  readonly #started: string[] = [];
  readonly #acknowledged: string[] = [];
  readonly #refused: string[] = [];

  /** @param isEarly a planted bug: what was sent counts as acknowledged */
  constructor(isEarly: boolean) {
    this.#isEarly = isEarly;
  }

  async drive(process: RunningProgram): Promise<void> {
    let ports = portsIn(process.output());
    while (ports === undefined && !process.hasEnded) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      ports = portsIn(process.output());
    }
    if (ports !== undefined && !process.hasEnded) await this.#write(ports.redis);
    process.terminate();
  }

  /** Failures are lines of the command, and replies to the client. */
  told({ status, output, errors }: ProgramEnd): Told {
    const codes = `${output}${errors}`.match(/RAFTSEAL_\w+/g) ?? [];
    const crash = status !== 0 && codes.length === 0 ? [`exit status ${status}`] : [];
    return {
      started: this.#started,
      acknowledged: this.#acknowledged,
      failed: [...codes, ...crash, ...this.#refused],
      refused: [],
      isDone: status === 0,
    };
  }

  async #write(port: number): Promise<void> {
    const client = await RespClient.connect(port).catch(() => undefined);
    if (client === undefined) return;
    for (let number = 1; number <= WRITES; number++) {
      this.#started.push(`set ${number}`);
      if (this.#isEarly) this.#acknowledged.push(`set ${number}`);
      // Keys of every shard.
      const answer = await client.ask('SET', `key:${number}`, `value ${number}`);
      if (answer?.error !== undefined) {
        this.#refused.push(/RAFTSEAL_\w+/.exec(answer.error)?.[0] ?? answer.error);
      } else if (answer !== undefined) this.#acknowledged.push(`set ${number}`);
    }
    client.close();
  }
}

function nodeProblems(directory: string, told: Told): Promise<readonly string[]> {
  const folder = dirname(directory);
  return problemsOf(async () => {
    mkdirSync(folder, { recursive: true });
    const node = new LoneNode({ directory, folder });
    const ports = await node.start();
    const client = await RespClient.connect(ports.redis);
    try {
      const problems: string[] = [];
      const last = highest(told.started, 'set', 0n);
      for (let number = 1n; number <= last; number++) {
        const answer = await client.ask('GET', `key:${number}`);
        const isThere = answer?.value === `value ${number}`;
        const mayMiss = !told.acknowledged.includes(`set ${number}`) && answer?.value === null;
        if (!isThere && !mayMiss) problems.push(`write ${number} is not there`);
      }
      const after = await client.ask('SET', 'after', '1');
      if (after?.value !== 'OK') problems.push(`the next write is refused: ${after?.error}`);
      return [...problems, ...(await verifyProblems(directory, ports))];
    } finally {
      client.close();
      if (!(await node.stop())) await node.kill();
    }
  });
}
