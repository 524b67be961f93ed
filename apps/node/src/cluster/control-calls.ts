/** Admin calls that the leader of the control shard answers, made at any node. */
import { type AdminCall, answerOf } from '../admin/call.ts';
import type { PeerClient } from '../peer/client.ts';
import type { ControlChannel } from './control-channel.ts';

export interface ControlCallsParts {
  readonly control: ControlChannel;
  readonly client: Pick<PeerClient, 'forward'>;
  /** Aborted: this node is stopping. */
  readonly signal: AbortSignal;
}

/** How long it is looked for who leads the control shard. */
const ASK_MS = 60_000;

export class ControlCalls {
  readonly #parts: ControlCallsParts;

  constructor(parts: ControlCallsParts) {
    this.#parts = parts;
  }

  /** Sends a call on, once; undefined where this node is the one that leads. */
  async forward(call: AdminCall): Promise<Response | undefined> {
    const { control, client } = this.#parts;
    if (control.leads) return undefined;
    const url = control.leaderUrl;
    if (url === undefined) control.checkLeads();
    return url === undefined ? undefined : client.forward(url, call);
  }

  /** Has a call answered that does no harm when it is done twice, whoever leads meanwhile. */
  ask<T extends object>(call: AdminCall, here: () => Promise<T>): Promise<T> {
    const { control, client, signal } = this.#parts;
    const there = async (url: string): Promise<T> => answerOf<T>(await client.forward(url, call));
    return control.untilDone({ here, there }, { signal, patienceMs: ASK_MS });
  }
}
