/**
 * The suite that every StateMachine passes: its state and its results follow from the entries
 * alone, and what it calls durable is there after a crash, as of exactly one index.
 */
import assert from 'node:assert/strict';
import { type CommandBatch, RaftsealError, type StateMachine } from '@raftseal/interface';
import type { TestRunner } from './test-runner.ts';

/** One state machine without entries, and what the suite needs to see of it. */
export interface StateMachineFixture<Result> {
  readonly machine: StateMachine<Result>;
  /** The whole logical state in a form that `deepEqual` compares; the same on every replica. */
  state(machine: StateMachine<Result>): unknown;
  /**
   * A machine over what a process that is killed now leaves on its disk. No call of the suite is
   * under way. The earlier machine is not used any more.
   */
  crash(): Promise<StateMachine<Result>>;
  /** Releases every machine of the fixture. */
  dispose(): Promise<void>;
}

export interface StateMachineSuiteOptions<Result> {
  /** Heads the suite's name. */
  readonly name: string;
  /** A new machine with an empty state each time. */
  readonly create: () => Promise<StateMachineFixture<Result>>;
  /** Commands of the entry at an index, some of them to be refused; the same on every call. */
  readonly commands: (index: bigint) => readonly Buffer[];
  /** Bytes that are no command. */
  readonly malformed: Buffer;
}

const FIRST_TIMESTAMP_MS = 1_700_000_000_000;

function timestampOf(index: bigint): number {
  return FIRST_TIMESTAMP_MS + Number(index) * 250;
}

/** An entry of commands, as a shard group hands it over. */
class Entry implements CommandBatch {
  readonly index: bigint;
  readonly timestampMs: number;
  readonly count: number;
  readonly bytes: Buffer;
  start = 0;
  end = 0;
  readonly #lengths: number[];

  constructor(index: bigint, commands: readonly Buffer[]) {
    this.index = index;
    this.timestampMs = timestampOf(index);
    this.count = commands.length;
    this.bytes = Buffer.concat(commands);
    this.#lengths = commands.map((command) => command.length);
  }

  next(): boolean {
    const length = this.#lengths.shift();
    if (length === undefined) return false;
    this.start = this.end;
    this.end = this.start + length;
    return true;
  }
}

/** Applies entries `from..through`; the results of each, by index. */
function applyRange<Result>(
  machine: StateMachine<Result>,
  options: StateMachineSuiteOptions<Result>,
  range: { readonly from: bigint; readonly through: bigint },
): Map<bigint, Result[]> {
  const results = new Map<bigint, Result[]>();
  for (let index = range.from; index <= range.through; index++) {
    const entry = new Entry(index, options.commands(index));
    results.set(index, machine.apply(entry));
    // The bytes are the caller's again: what the machine keeps must not point into them.
    entry.bytes.fill(0xee);
  }
  return results;
}

/** Registers the suite with a test runner. */
export function stateMachineSuite<Result>(
  runner: TestRunner,
  options: StateMachineSuiteOptions<Result>,
): void {
  const scenario: Scenario<Result> = (name, body) => {
    runner.it(name, async () => {
      const fixture = await options.create();
      try {
        await body(fixture, options);
      } finally {
        await fixture.dispose();
      }
    });
  };
  runner.describe(`StateMachine: ${options.name}`, () => {
    applyScenarios(scenario);
    durabilityScenarios(scenario);
    timestampScenarios(scenario);
  });
}

type Scenario<Result> = (
  name: string,
  body: (
    fixture: StateMachineFixture<Result>,
    options: StateMachineSuiteOptions<Result>,
  ) => Promise<void>,
) => void;

function applyScenarios<Result>(scenario: Scenario<Result>): void {
  scenario('a new machine is durable up to index 0', async ({ machine }) => {
    assert.equal(machine.durableIndex, 0n);
    assert.equal(await machine.flush(), 0n);
  });

  scenario('gives one result for each command', async ({ machine }, options) => {
    const results = applyRange(machine, options, { from: 1n, through: 50n });
    for (const [index, list] of results) {
      assert.equal(list.length, options.commands(index).length);
    }
    assert.deepEqual(machine.apply(new Entry(51n, [])), []);
  });

  scenario(
    'invariant 9: the same entries give the same results and the same state',
    async (fixture, options) => {
      const other = await options.create();
      try {
        const range = { from: 1n, through: 300n };
        const results = applyRange(fixture.machine, options, range);
        // The other one flushes in between, which nothing may show.
        const halves = new Map([
          ...applyRange(other.machine, options, { from: 1n, through: 150n }),
          ...(await other.machine.flush().then(() => new Map<bigint, Result[]>())),
          ...applyRange(other.machine, options, { from: 151n, through: 300n }),
        ]);
        assert.deepEqual(halves, results);
        assert.deepEqual(other.state(other.machine), fixture.state(fixture.machine));
      } finally {
        await other.dispose();
      }
    },
  );

  scenario(
    'invariant 6: bytes that are no command are a fatal error, and nothing after them is applied',
    async ({ machine }, options) => {
      applyRange(machine, options, { from: 1n, through: 5n });
      await machine.flush();
      const bad = new Entry(6n, [...options.commands(6n), options.malformed]);
      const isFatal = (error: unknown): boolean => error instanceof RaftsealError && error.fatal;
      assert.throws(() => machine.apply(bad), isFatal);
      assert.throws(() => machine.apply(new Entry(7n, options.commands(7n))), isFatal);
      assert.equal(machine.durableIndex, 5n);
    },
  );
}

function durabilityScenarios<Result>(scenario: Scenario<Result>): void {
  scenario('flush makes durable what was applied', async ({ machine }, options) => {
    applyRange(machine, options, { from: 1n, through: 20n });
    assert.equal(await machine.flush(), 20n);
    assert.equal(machine.durableIndex, 20n);
    applyRange(machine, options, { from: 21n, through: 21n });
    assert.equal(await machine.flush(), 21n);
  });

  scenario('entries without commands become durable too', async ({ machine }, options) => {
    applyRange(machine, options, { from: 1n, through: 2n });
    machine.skip(3n);
    machine.skip(4n);
    assert.equal(await machine.flush(), 4n);
    applyRange(machine, options, { from: 5n, through: 5n });
    assert.equal(await machine.flush(), 5n);
  });

  scenario('invariant 2: what is durable survives a crash', async (fixture, options) => {
    const { machine } = fixture;
    applyRange(machine, options, { from: 1n, through: 120n });
    await machine.flush();
    const before = fixture.state(machine);
    const after = await fixture.crash();
    assert.equal(after.durableIndex, 120n);
    assert.deepEqual(fixture.state(after), before);
  });

  scenario(
    'invariant 9: replay from the durable index gives the same results and state',
    async (fixture, options) => {
      const { machine } = fixture;
      applyRange(machine, options, { from: 1n, through: 100n });
      await machine.flush();
      const results = applyRange(machine, options, { from: 101n, through: 200n });
      const before = fixture.state(machine);
      const after = await fixture.crash();
      const from = after.durableIndex + 1n;
      assert.ok(from <= 201n && from >= 101n, `durable through ${after.durableIndex}`);
      const replayed = applyRange(after, options, { from, through: 200n });
      for (const [index, list] of replayed) assert.deepEqual(list, results.get(index));
      assert.deepEqual(fixture.state(after), before);
    },
  );

  scenario(
    'invariant 9: a flush keeps the state of one index while later entries are applied',
    async (fixture, options) => {
      const { machine } = fixture;
      applyRange(machine, options, { from: 1n, through: 200n });
      const flushed = machine.flush();
      for (let from = 201n; from <= 400n; from += 10n) {
        applyRange(machine, options, { from, through: from + 9n });
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.ok((await flushed) >= 200n);
      const before = fixture.state(machine);
      const after = await fixture.crash();
      applyRange(after, options, { from: after.durableIndex + 1n, through: 400n });
      assert.deepEqual(fixture.state(after), before);
    },
  );
}

function timestampScenarios<Result>(scenario: Scenario<Result>): void {
  scenario('a new machine has no durable time', async ({ machine }) => {
    machine.skip(1n);
    await machine.flush();
    assert.equal(machine.durableTimestampMs, 0);
  });

  scenario('the durable time is that of the durable index', async ({ machine }, options) => {
    applyRange(machine, options, { from: 1n, through: 30n });
    const flushed = machine.flush();
    for (let index = 31n; index <= 60n; index++) {
      applyRange(machine, options, { from: index, through: index });
      assert.equal(machine.durableTimestampMs, timeOfDurable(machine));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await flushed;
    assert.equal(machine.durableTimestampMs, timeOfDurable(machine));
  });

  scenario('the durable time survives a crash and never falls', async (fixture, options) => {
    let { machine } = fixture;
    applyRange(machine, options, { from: 1n, through: 3n });
    await machine.flush();
    for (let index = 4n; index <= 12n; index += 3n) {
      const before = machine.durableTimestampMs;
      assert.equal(before, timestampOf(index - 1n));
      machine = await fixture.crash();
      assert.equal(machine.durableTimestampMs, before);
      // An entry without commands brings no time, not even to a machine that has seen none yet.
      machine.skip(index);
      await machine.flush();
      assert.equal(machine.durableTimestampMs, before);
      machine = await fixture.crash();
      assert.equal(machine.durableTimestampMs, before);
      applyRange(machine, options, { from: index + 1n, through: index + 2n });
      await machine.flush();
    }
  });
}

/** Where every entry carries commands. */
function timeOfDurable<Result>(machine: StateMachine<Result>): number {
  return machine.durableIndex === 0n ? 0 : timestampOf(machine.durableIndex);
}
