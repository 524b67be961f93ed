/** When a program cuts the power of the disk that it writes to, and ends with it. */
import { cutPower } from '../world/power.ts';

export interface CutPlan {
  /** Where the file system is mounted. */
  readonly mountPath: string;
  /** As the n-th acknowledgement comes, before anybody is told of it. */
  readonly atAcknowledgement?: number;
  /** So long after the program began, at whatever it is then. */
  readonly afterMs?: number;
}

export class Cutter {
  readonly #plan: CutPlan | undefined;
  #acknowledgements = 0;

  constructor(plan: CutPlan | undefined) {
    this.#plan = plan;
    if (plan?.afterMs !== undefined) setTimeout(() => this.#cut(() => undefined), plan.afterMs);
  }

  /** @param tell says what was acknowledged */
  acknowledged(tell: () => void): void {
    this.#acknowledgements++;
    if (this.#acknowledgements === this.#plan?.atAcknowledgement) this.#cut(tell);
    else tell();
  }

  #cut(tell: () => void): void {
    if (this.#plan === undefined) return;
    cutPower(this.#plan.mountPath);
    tell();
    // A machine without power does nothing more.
    process.kill(process.pid, 'SIGKILL');
  }
}
