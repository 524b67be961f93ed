/**
 * Calls between the nodes of a run. A node that is cut off, or down, neither calls nor is called;
 * where it becomes so while a call is under way, the call may have been done and nobody is told.
 */
import { RaftsealError } from '@raftseal/interface';
import type { VirtualClock } from './virtual-clock.ts';

export interface NetworkParts<Process> {
  readonly clock: VirtualClock;
  readonly latencyMs: () => number;
  /** The process of a node, if one runs that can be called and call. */
  readonly inReach: (nodeId: string) => Process | undefined;
}

/** How long an answer is waited for. */
const TIMEOUT_MS = 5_000;

export class Network<Process> {
  readonly #parts: NetworkParts<Process>;

  constructor(parts: NetworkParts<Process>) {
    this.#parts = parts;
  }

  /** @throws RAFTSEAL_NODE_PEER_UNAVAILABLE, and what the other side throws */
  async call<Result>(
    { from, to }: { readonly from: string; readonly to: string },
    act: (process: Process) => Promise<Result>,
  ): Promise<Result> {
    const { clock, latencyMs, inReach } = this.#parts;
    await clock.sleep(latencyMs());
    const caller = inReach(from);
    const called = inReach(to);
    if (caller === undefined || called === undefined) throw unavailable(to);
    const late = clock.sleep(TIMEOUT_MS).then(() => Promise.reject(unavailable(to)));
    const [answer] = await Promise.allSettled([Promise.race([act(called), late])]);
    await clock.sleep(latencyMs());
    if (inReach(from) !== caller || inReach(to) !== called) throw unavailable(to);
    if (answer.status === 'rejected') throw answer.reason;
    return answer.value;
  }

  /** What is streamed ends with an error where either side is gone. */
  async *stream<Chunk>(
    { from, to }: { readonly from: string; readonly to: string },
    chunks: AsyncIterable<Chunk>,
  ): AsyncGenerator<Chunk> {
    const { clock, latencyMs, inReach } = this.#parts;
    const [caller, called] = [inReach(from), inReach(to)];
    for await (const chunk of chunks) {
      await clock.sleep(latencyMs());
      const isWhole = caller && called && inReach(from) === caller && inReach(to) === called;
      if (!isWhole) throw unavailable(to);
      yield chunk;
    }
  }
}

export function unavailable(nodeId: string): RaftsealError {
  return new RaftsealError('RAFTSEAL_NODE_PEER_UNAVAILABLE', `${nodeId} is out of reach`);
}
