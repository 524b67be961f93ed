/** What a node counts as it happens, rather than reads from its state: for the metrics. */
import { codeOf, type KekProvider } from '@raftseal/interface';
import { Counter, Histogram, type Registry } from 'prom-client';
import { withoutCredentials } from './audit/entry-facts.ts';
import type { OpenKek } from './kek-set.ts';

/** What was asked of a KEK. */
type KekOperation = 'open' | 'wrap' | 'unwrap';

/** A file answers in a millisecond, a key service far away in seconds. */
const KEK_SECONDS = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15];

export class NodeCounters {
  readonly #openFailures = new Counter({
    name: 'raftseal_open_failures_total',
    help: 'Envelopes that did not open.',
    labelNames: ['layer', 'reason'],
    registers: [],
  });
  readonly #kekSeconds = new Histogram({
    name: 'raftseal_kek_seconds',
    help: 'How long a KEK took to answer.',
    labelNames: ['kek', 'operation'],
    buckets: KEK_SECONDS,
    registers: [],
  });
  readonly #kekErrors = new Counter({
    name: 'raftseal_kek_errors_total',
    help: 'What was asked of a KEK and failed.',
    labelNames: ['kek', 'operation', 'reason'],
    registers: [],
  });

  /** Shows the counters among the metrics of a registry. */
  register(registry: Registry): void {
    registry.registerMetric(this.#openFailures);
    registry.registerMetric(this.#kekSeconds);
    registry.registerMetric(this.#kekErrors);
  }

  /** Counts an envelope of a log or a store that did not open. */
  openFailed(layer: 'log' | 'store', error: unknown): void {
    this.#openFailures.inc({ layer, reason: reasonOf(error) });
  }

  /** KEKs that are opened and used with a look at the clock. */
  measured(open: OpenKek): OpenKek {
    return async (uri) => {
      const kek = withoutCredentials(uri);
      const provider = await this.#measure(kek, 'open', () => open(uri));
      return this.#measuredProvider(kek, provider);
    };
  }

  #measuredProvider(kek: string, provider: KekProvider): KekProvider {
    return {
      kekUri: provider.kekUri,
      wrapKey: (dek, binding) => this.#measure(kek, 'wrap', () => provider.wrapKey(dek, binding)),
      unwrapKey: (wrapped, binding) =>
        this.#measure(kek, 'unwrap', () => provider.unwrapKey(wrapped, binding)),
      close: () => provider.close(),
    };
  }

  async #measure<T>(kek: string, operation: KekOperation, act: () => Promise<T>): Promise<T> {
    const end = this.#kekSeconds.startTimer({ kek, operation });
    try {
      return await act();
    } catch (error) {
      this.#kekErrors.inc({ kek, operation, reason: reasonOf(error) });
      throw error;
    } finally {
      end();
    }
  }
}

function reasonOf(error: unknown): string {
  return codeOf(error) ?? 'unexpected';
}
