/** What an operator asks the nodes for: every request is noted, and repeated until it is done. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../random.ts';
import type { NodeStatus } from '../world/node-admin.ts';
import type { ClusterNode, World } from '../world/world.ts';
import { type Attempt, outcomeOfFailure, type RequestKind } from './attempts.ts';

export interface RequestsParts {
  readonly world: World;
  readonly random: Random;
  /** When the last fault was over, by `performance.now()`; infinite before. */
  readonly calmSinceMs: () => number;
}

/** A step has so long from its beginning, or from the last fault on. */
const DONE_WITHIN_MS = 60_000;
const RETRY_PAUSE_MS = 400;

export class Requests {
  readonly #parts: RequestsParts;
  readonly #attempts: Attempt[] = [];

  constructor(parts: RequestsParts) {
    this.#parts = parts;
  }

  get attempts(): readonly Attempt[] {
    return this.#attempts;
  }

  /** @throws where it is not done in time */
  async until(name: string, attempt: () => Promise<boolean>): Promise<void> {
    const beganAtMs = performance.now();
    while (!(await attempt())) {
      const sinceMs = Math.max(beganAtMs, this.#parts.calmSinceMs());
      if (performance.now() > sinceMs + DONE_WITHIN_MS) {
        const last = this.#attempts.findLast(({ outcome }) => outcome !== 'done');
        const found = `${last?.request} at ${last?.node}: ${last?.outcome} ${last?.message ?? ''}`;
        throw new Error(`${name} is not done within ${DONE_WITHIN_MS} ms without faults; ${found}`);
      }
      await delay(this.#parts.random.between(0, 2 * RETRY_PAUSE_MS));
    }
  }

  /** @returns undefined where it was refused, or not answered */
  ask<Answer>(
    request: RequestKind,
    node: ClusterNode,
    call: () => Promise<Answer>,
  ): Promise<Answer | undefined> {
    return this.noted(request, node.process.name, call);
  }

  /** The same of what no node is asked for. @param place where it is done */
  async noted<Answer>(
    request: RequestKind,
    place: string,
    act: () => Promise<Answer>,
  ): Promise<Answer | undefined> {
    const beganAtMs = performance.now();
    const note = (outcome: Pick<Attempt, 'outcome' | 'message'>): void => {
      const endedAtMs = performance.now();
      this.#attempts.push({ request, node: place, beganAtMs, endedAtMs, ...outcome });
    };
    try {
      const answer = await act();
      note({ outcome: 'done' });
      return answer;
    } catch (error) {
      note(outcomeOfFailure(error));
      return undefined;
    }
  }

  async status(): Promise<NodeStatus | undefined> {
    return this.statusOf(this.anyNode());
  }

  statusOf({ admin }: ClusterNode): Promise<NodeStatus | undefined> {
    return admin.status().catch(() => undefined);
  }

  everyStatus(): Promise<readonly (NodeStatus | undefined)[]> {
    return Promise.all(this.#parts.world.nodes.map((node) => this.statusOf(node)));
  }

  /** One that is not known to be down. */
  anyNode(): ClusterNode {
    const { random, world } = this.#parts;
    const running = world.nodes.filter(({ process }) => process.state === 'running');
    return random.pick(running.length > 0 ? running : world.nodes);
  }
}
