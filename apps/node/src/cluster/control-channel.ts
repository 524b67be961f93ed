/** Reaches the leader of the control shard, whichever node that is: this one, or another. */
import { CONTROL_SHARD, codeOf, RaftsealError } from '@raftseal/interface';
import { type PeerAccess, peerUrl } from '../peer/access.ts';
import { NotControlLeaderError } from '../peer/not-control-leader.ts';
import type { ClusterView } from './cluster-view.ts';

export interface ControlChannelParts {
  readonly nodeId: string;
  readonly view: Pick<ClusterView, 'leaderIdOf' | 'peerAddressOf'>;
  readonly access: Pick<PeerAccess, 'kind'>;
  /** Whether this node leads the control shard and may serve it now. */
  readonly leadsControl: () => boolean;
}

const RETRY_MS = 200;

/** Refusals that another leader, or the same one in a moment, may not repeat. */
const transient: ReadonlySet<string> = new Set([
  'RAFTSEAL_NODE_NOT_CONTROL_LEADER',
  'RAFTSEAL_NODE_PEER_UNAVAILABLE',
  'RAFTSEAL_NODE_NOT_READY',
  'RAFTSEAL_NODE_WRITER_NOT_REGISTERED',
  'RAFTSEAL_ENGINE_UNAVAILABLE',
  'RAFTSEAL_SHARD_GROUP_NOT_LEADER',
  'RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN',
  'RAFTSEAL_SHARD_GROUP_OVERLOADED',
  'RAFTSEAL_SHARD_GROUP_STOPPED',
]);

export class ControlChannel {
  readonly #parts: ControlChannelParts;

  constructor(parts: ControlChannelParts) {
    this.#parts = parts;
  }

  /** Whether this node leads the control shard and may serve it now. */
  get leads(): boolean {
    return this.#parts.leadsControl();
  }

  /** Base URL of another node that leads the control shard; undefined where none is known. */
  get leaderUrl(): string | undefined {
    const { view, access, nodeId } = this.#parts;
    const leaderId = view.leaderIdOf(CONTROL_SHARD);
    if (leaderId === undefined || leaderId === nodeId) return undefined;
    const address = view.peerAddressOf(leaderId);
    return address && peerUrl(access, address);
  }

  /** @throws RAFTSEAL_NODE_NOT_CONTROL_LEADER, with where the leader is */
  checkLeads(): void {
    if (!this.#parts.leadsControl()) throw new NotControlLeaderError(this.leaderUrl);
  }

  /**
   * Acts on the leader, as often as it takes: what is asked must do no harm when it is done twice.
   * @throws the signal's reason, what no repetition can mend, and what came last when `patienceMs`
   *   were over
   */
  async untilDone<T>(
    act: { readonly here: () => Promise<T>; readonly there: (url: string) => Promise<T> },
    {
      signal,
      onRetry,
      patienceMs = Number.POSITIVE_INFINITY,
    }: {
      readonly signal: AbortSignal;
      readonly onRetry?: (code: string) => void;
      readonly patienceMs?: number;
    },
  ): Promise<T> {
    const untilMs = performance.now() + patienceMs;
    for (;;) {
      signal.throwIfAborted();
      try {
        return await this.#once(act);
      } catch (error) {
        const code = codeOf(error) ?? '';
        if (!transient.has(code) || performance.now() >= untilMs) throw error;
        onRetry?.(code);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async #once<T>(act: {
    readonly here: () => Promise<T>;
    readonly there: (url: string) => Promise<T>;
  }): Promise<T> {
    if (this.#parts.leadsControl()) return act.here();
    const url = this.leaderUrl;
    if (url !== undefined) return act.there(url);
    throw new RaftsealError(
      'RAFTSEAL_NODE_NOT_CONTROL_LEADER',
      'no node is known to lead the control shard at the moment',
    );
  }
}
