/**
 * A moment of a cutover at which a test intervenes. Each process says where it is; the first one to
 * come to the armed step of the armed shard springs the trap.
 */
export const cutoverSteps = [
  'gate closed',
  'drained',
  'marker in transit',
  'marker ambiguous and landed',
  'marker ambiguous and lost',
  'marker ambiguous and late',
  'marker committed, not applied',
  'sidecar written, wrap not installed',
  'wrap installed, gate closed',
] as const;

export type CutoverStep = (typeof cutoverSteps)[number];

export class Trap {
  readonly shardId: number;
  readonly step: CutoverStep;
  sprung = false;
  readonly #act: () => void;

  /** @param act runs synchronously, at the step */
  constructor(armed: { readonly shardId: number; readonly step: CutoverStep }, act: () => void) {
    this.shardId = armed.shardId;
    this.step = armed.step;
    this.#act = act;
  }

  isArmedAt(step: CutoverStep, shardId: number): boolean {
    return !this.sprung && step === this.step && shardId === this.shardId;
  }

  /** @returns true where it was sprung by this very call */
  pass(step: CutoverStep, shardId: number): boolean {
    if (!this.isArmedAt(step, shardId)) return false;
    this.sprung = true;
    this.#act();
    return true;
  }
}
