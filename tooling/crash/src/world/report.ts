/** What a scenario of a rig came to, and the table of all of them. */

export interface ScenarioResult {
  readonly scenario: string;
  readonly runs: number;
  /** Runs whose fault was not seen to happen. */
  readonly voids: number;
  /** Faults that were seen to happen, by kind. */
  readonly faults: ReadonlyMap<string, number>;
  readonly violations: readonly string[];
  /** A planted bug: there have to be violations. */
  readonly isCanary: boolean;
  readonly seconds: number;
}

/** Gathers what becomes of the runs of one scenario. */
export class Tally {
  readonly #scenario: string;
  readonly #isCanary: boolean;
  readonly #startedMs = performance.now();
  readonly #faults = new Map<string, number>();
  readonly #violations: string[] = [];
  #runs = 0;
  #voids = 0;

  constructor(scenario: string, isCanary = false) {
    this.#scenario = scenario;
    this.#isCanary = isCanary;
  }

  get violationCount(): number {
    return this.#violations.length;
  }

  void(): void {
    this.#runs++;
    this.#voids++;
  }

  /** A run whose fault happened. */
  run(fault: string, violations: readonly string[]): void {
    this.#runs++;
    this.#faults.set(fault, (this.#faults.get(fault) ?? 0) + 1);
    this.#violations.push(...violations);
  }

  result(): ScenarioResult {
    return {
      scenario: this.#scenario,
      runs: this.#runs,
      voids: this.#voids,
      faults: this.#faults,
      violations: this.#violations,
      isCanary: this.#isCanary,
      seconds: (performance.now() - this.#startedMs) / 1_000,
    };
  }
}

/** A scenario without a single fault proves nothing. */
export function isRight({ faults, violations, isCanary }: ScenarioResult): boolean {
  return faults.size > 0 && violations.length > 0 === isCanary;
}

const VIOLATIONS_LISTED_MAX = 20;

export function printTable(
  results: readonly ScenarioResult[],
  print: (line: string) => void,
): void {
  const header = ['scenario', 'runs', 'void', 'faults seen', 'violations', 'canary', 's'];
  const rows = results.map((result) => [
    result.scenario,
    `${result.runs}`,
    `${result.voids}`,
    [...result.faults].map(([fault, count]) => `${fault} ${count}`).join(', ') || 'NONE',
    `${result.violations.length}`,
    result.isCanary ? (isRight(result) ? 'caught' : 'NOT CAUGHT') : '',
    result.seconds.toFixed(1),
  ]);
  const widths = header.map((_, at) => Math.max(...[header, ...rows].map((row) => width(row, at))));
  for (const row of [header, ...rows]) {
    print(
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    );
  }
  for (const { scenario, isCanary, violations } of results) {
    if (isCanary) continue;
    for (const text of violations.slice(0, VIOLATIONS_LISTED_MAX)) {
      print(`VIOLATION ${scenario}: ${text}`);
    }
  }
}

function width(row: readonly string[], at: number): number {
  return row[at]?.length ?? 0;
}
