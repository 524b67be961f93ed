/**
 * Looks for a linearization of a history: an order of its operations, each at some moment between
 * its sending and its answer, in which the model gives every reply that was given.
 *
 * The search is that of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with the
 * cache of Lowe ("Testing for Linearizability", 2017): operations are taken in one by one, the next
 * being any that was sent before the first answer still to come; a set of operations taken in, and
 * the state it led to, is never tried a second time. An operation without an answer may be taken in
 * at any later moment or never. It is tried after those with an answer: most of them never took
 * effect, and each that is taken in for nothing doubles what is left to search.
 *
 * The problem is NP-complete, so the search is bounded, and what it could not decide is `undecided`:
 * that is no success.
 */
import { type History, isKnown, type Operation } from './operation.ts';
import { isReadOnly, isSameReply, type Keys, noKeys, stepOf, textOfKeys } from './redis-model.ts';

export interface SearchLimits {
  /** How many pairs of a set of operations and a state are remembered. */
  readonly statesMax: number;
  readonly timeMsMax: number;
}

export const searchLimitsDefault: SearchLimits = { statesMax: 2_000_000, timeMsMax: 20_000 };

export type Verdict =
  /** With an order that explains every reply. */
  | { readonly verdict: 'linearizable'; readonly order: readonly Operation[] }
  /** No order does; with the longest one that was found and the first answer that it leaves out. */
  | {
      readonly verdict: 'violation';
      readonly longest: readonly Operation[];
      readonly blocked: Operation;
    }
  | { readonly verdict: 'undecided'; readonly reason: string };

/** How many steps pass between two looks at the clock. */
const STEPS_PER_LOOK = 1024;

export function linearize(history: History, limits: SearchLimits = searchLimitsDefault): Verdict {
  const told = history.filter((operation) => isKnown(operation) || !isReadOnly(operation.commands));
  return new Search(told, limits).run();
}

/** One event of the timeline: an operation is sent, or its answer comes. */
interface Event {
  readonly operation: number;
  readonly isAnswer: boolean;
  next: Event | undefined;
  previous: Event | undefined;
}

interface Taken {
  readonly call: Event;
  /** The state before it. */
  readonly keys: Keys;
}

class Search {
  readonly #history: History;
  readonly #limits: SearchLimits;
  readonly #start: Event = { operation: -1, isAnswer: false, next: undefined, previous: undefined };
  readonly #answers: Map<number, Event> = new Map();
  readonly #taken: Taken[] = [];
  readonly #isTaken: Uint16Array;
  readonly #tried: Set<string> = new Set();
  readonly #stateIds: Map<string, number> = new Map();
  #longest: readonly number[] = [];
  #blocked: number | undefined;
  #answersLeft: number;

  constructor(history: History, limits: SearchLimits) {
    this.#history = history;
    this.#limits = limits;
    this.#isTaken = new Uint16Array(Math.ceil(history.length / 16));
    this.#answersLeft = history.filter(isKnown).length;
    this.#link();
  }

  run(): Verdict {
    const deadlineMs = performance.now() + this.#limits.timeMsMax;
    let keys = noKeys;
    let event = this.#start.next;
    let areAnswered = true;
    for (let steps = 1; this.#answersLeft > 0; steps++) {
      if (steps % STEPS_PER_LOOK === 0 && performance.now() > deadlineMs) {
        return { verdict: 'undecided', reason: `not within ${this.#limits.timeMsMax} ms` };
      }
      if (this.#tried.size > this.#limits.statesMax) {
        return { verdict: 'undecided', reason: `not within ${this.#limits.statesMax} states` };
      }
      if (event !== undefined && !event.isAnswer) {
        const isWanted = this.#answers.has(event.operation) === areAnswered;
        const after = isWanted ? this.#attempt(event.operation, keys) : undefined;
        if (after === undefined) event = event.next;
        else {
          this.#take(event, keys);
          keys = after;
          event = this.#start.next;
          areAnswered = true;
        }
        continue;
      }
      if (areAnswered) {
        areAnswered = false;
        event = this.#start.next;
        continue;
      }
      // An answer that nothing explains so far: one of the operations taken in came too early.
      this.#noteBlocked(event);
      const last = this.#taken.pop();
      if (last === undefined) return this.#violation();
      keys = last.keys;
      this.#putBack(last.call);
      event = last.call.next;
      areAnswered = this.#answers.has(last.call.operation);
    }
    return { verdict: 'linearizable', order: this.#operations(this.#taken.map(operationOf)) };
  }

  /** The state after the operation, where it explains the replies and was not tried before. */
  #attempt(operation: number, before: Keys): Keys | undefined {
    const { commands, replies } = this.#at(operation);
    let keys = before;
    for (const [at, command] of commands.entries()) {
      const step = stepOf(keys, command);
      if (replies !== undefined && !isSameReply(step.reply, replies[at])) return undefined;
      keys = step.keys;
    }
    this.#flip(operation);
    const key = `${this.#stateId(keys)} ${String.fromCharCode(...this.#isTaken)}`;
    const isNew = !this.#tried.has(key);
    if (isNew) this.#tried.add(key);
    else this.#flip(operation);
    return isNew ? keys : undefined;
  }

  #take(call: Event, keys: Keys): void {
    this.#taken.push({ call, keys });
    unlink(call);
    const answer = this.#answers.get(call.operation);
    if (answer === undefined) return;
    unlink(answer);
    this.#answersLeft--;
  }

  /** In the reverse order of taking: each event finds its neighbours as it left them. */
  #putBack(call: Event): void {
    const answer = this.#answers.get(call.operation);
    if (answer !== undefined) {
      relink(answer);
      this.#answersLeft++;
    }
    relink(call);
    this.#flip(call.operation);
  }

  #flip(operation: number): void {
    const word = operation >>> 4;
    this.#isTaken[word] = (this.#isTaken[word] ?? 0) ^ (1 << (operation & 15));
  }

  #noteBlocked(event: Event | undefined): void {
    if (this.#blocked !== undefined && this.#taken.length <= this.#longest.length) return;
    this.#longest = this.#taken.map(operationOf);
    this.#blocked = event?.operation ?? this.#blocked;
  }

  #violation(): Verdict {
    const longest = this.#operations(this.#longest);
    const blocked = this.#blocked ?? this.#history.findIndex(isKnown);
    return { verdict: 'violation', longest, blocked: this.#at(blocked) };
  }

  #stateId(keys: Keys): number {
    const text = textOfKeys(keys);
    const known = this.#stateIds.get(text);
    if (known !== undefined) return known;
    this.#stateIds.set(text, this.#stateIds.size);
    return this.#stateIds.size - 1;
  }

  #link(): void {
    const events = this.#history.flatMap(({ invokedAt, returnedAt, replies }, operation) => {
      const call = { atMs: invokedAt, event: newEvent(operation, false) };
      if (replies === undefined) return [call];
      const answer = { atMs: returnedAt, event: newEvent(operation, true) };
      this.#answers.set(operation, answer.event);
      return [call, answer];
    });
    let last = this.#start;
    for (const { event } of events.sort((a, b) => a.atMs - b.atMs)) {
      last.next = event;
      event.previous = last;
      last = event;
    }
  }

  #at(operation: number): Operation {
    const found = this.#history[operation];
    if (found === undefined) throw new RangeError(`the history has no operation ${operation}`);
    return found;
  }

  #operations(operations: readonly number[]): readonly Operation[] {
    return operations.map((operation) => this.#at(operation));
  }
}

function newEvent(operation: number, isAnswer: boolean): Event {
  return { operation, isAnswer, next: undefined, previous: undefined };
}

function operationOf({ call }: Taken): number {
  return call.operation;
}

function unlink({ previous, next }: Event): void {
  if (previous !== undefined) previous.next = next;
  if (next !== undefined) next.previous = previous;
}

function relink(event: Event): void {
  if (event.previous !== undefined) event.previous.next = event;
  if (event.next !== undefined) event.next.previous = event;
}
