/**
 * Makes this process a writer: claims a nonce epoch under the active keys and has the log record it,
 * through whoever leads the control shard. Nothing is sealed before that, and so nothing is led and
 * no row is written. The raft key comes first: the other registration is sealed under it.
 */
import { randomBytes } from 'node:crypto';
import { CLAIM_ID_BYTES, type KeyLifecycle } from '@raftseal/applier';
import { codeOf } from '@raftseal/interface';
import type { Logger } from 'pino';
import type { RegistrationRequest } from '../peer/operations.ts';

export interface WriterRegistrationParts {
  readonly nodeId: string;
  readonly keyLifecycle: KeyLifecycle;
  /** Resolves once the leader of the control shard has put it in the log and applied it. */
  readonly record: (request: RegistrationRequest, signal: AbortSignal) => Promise<void>;
  readonly log: Logger;
}

const purposes = ['raft', 'storage'] as const;
/** How long the own apply of a recorded registration is waited for before it is asked for again. */
const APPLY_WAIT_MS = 10_000;
const RETRY_MS = 500;

export class WriterRegistration {
  readonly #parts: WriterRegistrationParts;
  readonly #end = new AbortController();
  #running: Promise<void> | undefined;

  constructor(parts: WriterRegistrationParts) {
    this.#parts = parts;
  }

  /** True where this process may seal under every active key, and where there is none. */
  get isComplete(): boolean {
    return this.#missing() === undefined;
  }

  /**
   * Whether this node could put registrations in the log if it led. Who is no writer yet cannot seal
   * its own first one: it needs another leader.
   */
  get canRecord(): boolean {
    return this.isComplete || this.#isWriter;
  }

  /** Sees to it that this process is registered; resolves once it is. */
  ensure(): Promise<void> {
    this.#running ??= this.#register().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async close(): Promise<void> {
    this.#end.abort(new Error('this node is stopping'));
    await this.#running?.catch(() => undefined);
  }

  async #register(): Promise<void> {
    const { signal } = this.#end;
    for (let dekId = this.#missing(); dekId !== undefined; dekId = this.#missing()) {
      signal.throwIfAborted();
      try {
        await this.#registerUnder(dekId);
      } catch (error) {
        if (signal.aborted) throw error;
        const code = codeOf(error);
        this.#parts.log.warn({ dekId, code }, 'this node is not registered as a writer yet');
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** The first active key under which this process may not seal. */
  #missing(): number | undefined {
    const { keyLifecycle } = this.#parts;
    const { activeDekId } = keyLifecycle.state;
    return purposes
      .map((purpose) => activeDekId[purpose])
      .find((dekId) => dekId !== 0 && !keyLifecycle.isRegistered(dekId));
  }

  async #registerUnder(dekId: number): Promise<void> {
    const { nodeId, keyLifecycle } = this.#parts;
    if (!this.#isWriter) {
      // Its first registration makes the node a writer; what it seals with is the next one.
      const claimId = randomBytes(CLAIM_ID_BYTES);
      await this.#record({ nodeId, dekId, epoch: 1, claimId });
      await this.#until(() => this.#isWriter);
      return;
    }
    const { nonceEpoch, claimId } = await keyLifecycle.claimNonceEpoch(dekId);
    if (this.#missing() !== dekId) return;
    await this.#record({ nodeId, dekId, epoch: nonceEpoch, claimId });
    await this.#until(() => this.#missing() !== dekId);
  }

  /**
   * Has a registration recorded, unless a rotation overtakes it: a leader may seal nothing under the
   * new key but its own registration under that one, so this one would wait for itself for ever.
   */
  async #record(request: RegistrationRequest): Promise<void> {
    const { keyLifecycle, record } = this.#parts;
    const overtaken = new AbortController();
    const forget = keyLifecycle.onChange(() =>
      setImmediate(() => {
        if (this.#missing() !== request.dekId) overtaken.abort();
      }),
    );
    try {
      await record(request, AbortSignal.any([this.#end.signal, overtaken.signal]));
    } catch (error) {
      if (!overtaken.signal.aborted) throw error;
    } finally {
      forget();
    }
  }

  get #isWriter(): boolean {
    const { nodeId, keyLifecycle } = this.#parts;
    return [...keyLifecycle.state.writers.values()].includes(nodeId);
  }

  /** Waits for this node's own apply; not for ever: a claim can be overtaken. */
  async #until(reached: () => boolean): Promise<void> {
    const { keyLifecycle } = this.#parts;
    if (reached() || this.#end.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        forget();
        resolve();
      };
      const timer = setTimeout(end, APPLY_WAIT_MS);
      const forget = keyLifecycle.onChange(() => setImmediate(() => reached() && end()));
      this.#end.signal.addEventListener('abort', end, { once: true });
    });
  }
}
