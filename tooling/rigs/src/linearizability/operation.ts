/** What a client did, and what it was told: the elements of a history. */

/** A command as it is sent: its name in capitals, then its arguments. */
export type Command = readonly [name: string, ...args: readonly string[]];

/** A reply as a client library hands it over; an error is compared by its text. */
export type Reply = string | number | null | { readonly error: string };

export interface Operation {
  /** Operations of one client follow one another. */
  readonly client: number;
  /** One command, or those of one transaction, which took effect together or not at all. */
  readonly commands: readonly Command[];
  /**
   * When it was sent and when its answer came, by one clock for all clients. Times are of any unit;
   * no two of a history are equal.
   */
  readonly invokedAt: number;
  /** Infinity where no answer came, or one that leaves open whether it took effect. */
  readonly returnedAt: number;
  /** One per command; undefined where it is unknown whether it took effect. */
  readonly replies: readonly Reply[] | undefined;
}

/** Sorted by `invokedAt`. */
export type History = readonly Operation[];

export function isKnown(operation: Operation): boolean {
  return operation.replies !== undefined;
}

/** For messages: what was done, what came of it, and when. */
export function describeOperation(operation: Operation): string {
  const { client, commands, invokedAt, returnedAt, replies } = operation;
  const done = commands.map((command) => command.join(' ')).join('; ');
  const answer = replies === undefined ? 'unknown' : JSON.stringify(replies);
  const until = returnedAt === Number.POSITIVE_INFINITY ? '?' : returnedAt.toFixed(3);
  return `[${invokedAt.toFixed(3)} - ${until}] client ${client}: ${done} -> ${answer}`;
}
