/**
 * Writes to a node without end, over several connections, each key with one number after the other.
 * It knows of each key what was sent and what was acknowledged last, over many starts of the node.
 */
import type { Random } from '@raftseal/rigs/random';
import { RespClient } from '../world/resp-client.ts';

const CONNECTIONS = 4;
const KEYS_PER_CONNECTION = 25;
const IN_FLIGHT = 8;

interface KeyRecord {
  sent: number;
  acknowledged: number;
}

export class NodeLoad {
  readonly #random: Random;
  readonly #keys = new Map<string, KeyRecord>();
  /** Errors that the node gave instead of doing what it was asked to, by code or text. */
  readonly refusals: Map<string, number> = new Map();
  readonly #isEarly: boolean;
  #acknowledgements = 0;
  #isOver = false;

  /** @param isEarly a planted bug: what was sent counts as acknowledged */
  constructor(random: Random, isEarly = false) {
    this.#random = random;
    this.#isEarly = isEarly;
  }

  get acknowledgements(): number {
    return this.#acknowledgements;
  }

  /**
   * Writes until it is told to end, or every connection is gone.
   * @param onAcknowledgement called in the turn of each, before anything else is sent
   */
  async run(port: number, onAcknowledgement: (count: number) => void): Promise<void> {
    this.#isOver = false;
    let count = 0;
    const one = async (connection: number): Promise<void> => {
      const client = await RespClient.connect(port).catch(() => undefined);
      if (client === undefined) return;
      const acknowledged = (): void => onAcknowledgement(++count);
      const writers = Array.from({ length: IN_FLIGHT }, () =>
        this.#write(client, connection, acknowledged),
      );
      await Promise.all(writers);
      client.close();
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, (_, connection) => one(connection)));
  }

  end(): void {
    this.#isOver = true;
  }

  /** Compares what a node has with what was acknowledged, and takes over what is there. */
  async problems(port: number): Promise<readonly string[]> {
    const client = await RespClient.connect(port);
    const problems: string[] = [];
    for (const [key, record] of this.#keys) {
      const answer = await client.ask('GET', key);
      const found = Number(answer?.value ?? 0);
      if (answer === undefined || answer.error !== undefined) {
        problems.push(`${key} is not answered: ${answer?.error}`);
      } else if (!(found >= record.acknowledged && found <= record.sent)) {
        problems.push(
          `${key} is ${found}, acknowledged ${record.acknowledged}, sent ${record.sent}`,
        );
      }
      record.acknowledged = found;
    }
    client.close();
    return problems;
  }

  /** One write after the other; what is sent on one connection is done in that order. */
  async #write(client: RespClient, connection: number, onDone: () => void): Promise<void> {
    for (;;) {
      const key = `key:${connection}:${this.#random.below(KEYS_PER_CONNECTION)}`;
      const record = this.#keys.get(key) ?? { sent: 0, acknowledged: 0 };
      this.#keys.set(key, record);
      const number = ++record.sent;
      if (this.#isEarly) record.acknowledged = number;
      const isAnswered = await new Promise<boolean>((resolve) => {
        client.send(['SET', key, `${number}`], (answer) => {
          if (answer !== undefined && answer.error === undefined) {
            record.acknowledged = Math.max(record.acknowledged, number);
            this.#acknowledgements++;
            onDone();
          } else if (answer?.error !== undefined) this.#refused(answer.error);
          resolve(answer !== undefined);
        });
      });
      if (!isAnswered || this.#isOver) return;
    }
  }

  #refused(error: string): void {
    const code = /RAFTSEAL_\w+/.exec(error)?.[0] ?? error;
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }
}
