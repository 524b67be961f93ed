/**
 * Every seal that any process of a run makes, of whatever kind and whatever becomes of it: entries
 * that were lost or fenced, rows, snapshots, wraps. It looks at the cipher itself, so that nothing
 * can be sealed past it.
 */
export class SealRecorder {
  readonly #nonces = new Set<string>();
  /** Pairs of key and nonce that were used more than once, as hex of the nonce. */
  readonly repeated: string[] = [];
  seals = 0;

  note(key: Uint8Array, nonce: Uint8Array): void {
    this.seals++;
    const pair = Buffer.concat([key, nonce]).toString('latin1');
    if (this.#nonces.has(pair)) this.repeated.push(Buffer.from(nonce).toString('hex'));
    this.#nonces.add(pair);
  }
}
