/**
 * Invariant 3 over everything that a run has left: no (DEK, nonce) pair seals two different things.
 * The same bytes in two places are one seal: replicas that installed a snapshot share its rows.
 */
import { createHash } from 'node:crypto';
import { readSeal } from './log-entry.ts';

export class SealLedger {
  readonly #seen: Map<string, { readonly digest: string; readonly place: string }> = new Map();
  readonly #problems: string[] = [];

  get seals(): number {
    return this.#seen.size;
  }

  /** One line for each nonce that was used again. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** @param place for messages, such as `log of shard 3, entry 17` */
  add(place: string, envelope: Buffer): void {
    const { dekId, nonce } = readSeal(envelope);
    const key = `${dekId} ${nonce}`;
    const digest = createHash('sha256').update(envelope).digest('base64');
    const first = this.#seen.get(key);
    if (first === undefined) this.#seen.set(key, { digest, place });
    else if (first.digest !== digest) {
      this.#problems.push(
        `nonce ${nonce} under DEK ${dekId} was used twice: ${first.place}; ${place}`,
      );
    }
  }
}
