/**
 * Whoever runs the cluster: asks the leader of the control shard for key operations. What is refused
 * is refused with a code; nobody waits for a process that is gone.
 */
import { codeOf, type KeyPurpose } from '@raftseal/interface';
import type { NodeProcess } from './node-process.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface OperatorParts {
  readonly clock: VirtualClock;
  /** Every process that runs. */
  readonly processes: () => readonly NodeProcess[];
  readonly areSealed: () => boolean;
  /** Told of what was refused without a code. */
  readonly onUncoded: (error: unknown) => void;
}

type Operation = (process: NodeProcess) => Promise<unknown>;

const POLL_MS = 100;
/** A node is started with these, once the second has been added. */
const KEKS = ['memory:one', 'memory:two'] as const;

export class Operator {
  readonly #parts: OperatorParts;
  #kekUris: readonly string[] = KEKS.slice(0, 1);
  #isOver = false;

  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  /** What nodes are started with. */
  get kekUris(): readonly string[] {
    return this.#kekUris;
  }

  /** Asks again until every shard is sealed; where it is to be in order, the first that asks says so. */
  async enableEncryption(waves?: readonly (readonly number[])[]): Promise<void> {
    const { areSealed, clock } = this.#parts;
    while (!this.#isOver && !areSealed()) {
      await this.#ask((process) => process.operations.enableEncryption(waves));
      await clock.sleep(POLL_MS);
    }
  }

  rotate(purpose: KeyPurpose): void {
    void this.#ask((process) => process.operations.rotate(purpose));
  }

  /** Gives every node a second KEK, and has every key wrapped under both. */
  async rewrap(): Promise<void> {
    this.#kekUris = KEKS;
    const known = this.#parts.processes();
    await Promise.all(known.map(({ keys }) => keys.keks.use(KEKS, async () => undefined)));
    await this.#ask((process) => process.operations.rewrap());
  }

  /** Asks for nothing any more. */
  end(): void {
    this.#isOver = true;
  }

  async #ask(operation: Operation): Promise<void> {
    const { processes, clock, onUncoded } = this.#parts;
    const asked = processes().find(({ leadsControl }) => leadsControl);
    if (asked === undefined) return;
    const isRunning = (): boolean => processes().includes(asked);
    const gone = async (): Promise<void> => {
      while (isRunning()) await clock.sleep(POLL_MS);
    };
    const answered = operation(asked).catch((error: unknown) => {
      if (isRunning() && !codeOf(error)?.startsWith('RAFTSEAL_')) onUncoded(error);
    });
    await Promise.race([answered, gone()]);
  }
}
