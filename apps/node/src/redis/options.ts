/** Bounds of the Redis front end: what one client, and all of them together, may make it hold. */
import { defaultRequestLimits, type RequestLimits } from '@raftseal/resp';

export interface RedisServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** A byte string. Clients must give it before anything else; undefined asks nobody. */
  readonly password?: string | undefined;
  /** Clients at once; further ones are told so and closed. */
  readonly clientsMax?: number;
  /** A client that sends nothing for so long is closed; 0: never. */
  readonly idleTimeoutMs?: number;
  readonly request?: Partial<RequestLimits>;
  /** Writes of one client that may wait for their answer; beyond it, its requests wait. */
  readonly inFlightCommandsMax?: number;
  /** The same in bytes of commands. A larger single command travels alone. */
  readonly inFlightBytesMax?: number;
  /** Bytes of one client received but not parsed; beyond it, its socket is not read. */
  readonly unreadBytesMax?: number;
  /** Replies that one client has not taken, in bytes; beyond it, its requests wait. */
  readonly outputPauseBytes?: number;
  /** The same; beyond it, the client is closed. */
  readonly outputBytesMax?: number;
  /** What all clients together may make the server hold; beyond it, the largest is closed. */
  readonly clientsBytesMax?: number;
  /** How long the answer to a wrong password is held back. */
  readonly authFailureDelayMs?: number;
  /** Wrong passwords of one client; with the last one it is closed. */
  readonly authFailuresMax?: number;
}

/** The options with every bound filled in. */
export interface RedisServerLimits {
  readonly clientsMax: number;
  readonly idleTimeoutMs: number;
  readonly request: RequestLimits;
  readonly inFlightCommandsMax: number;
  readonly inFlightBytesMax: number;
  readonly unreadBytesMax: number;
  readonly outputPauseBytes: number;
  readonly outputBytesMax: number;
  readonly clientsBytesMax: number;
  readonly authFailureDelayMs: number;
  readonly authFailuresMax: number;
}

const MIB: number = 1024 * 1024;

export const defaultLimits: RedisServerLimits = {
  clientsMax: 10_000,
  idleTimeoutMs: 0,
  request: defaultRequestLimits,
  inFlightCommandsMax: 1024,
  inFlightBytesMax: 8 * MIB,
  unreadBytesMax: MIB / 4,
  outputPauseBytes: MIB,
  outputBytesMax: 256 * MIB,
  clientsBytesMax: 1024 * MIB,
  authFailureDelayMs: 250,
  authFailuresMax: 10,
};

/** Throws RangeError for a bound that is no whole number of at least 1 (0 for the times). */
export function limitsOf(options: RedisServerOptions): RedisServerLimits {
  const { host: _host, port: _port, password: _password, request, ...bounds } = options;
  for (const [name, bound] of Object.entries(bounds)) {
    const least = name.endsWith('Ms') ? 0 : 1;
    if (bound !== undefined && (!Number.isSafeInteger(bound) || bound < least)) {
      throw new RangeError(`${name}: expected a whole number of at least ${least}, found ${bound}`);
    }
  }
  return { ...defaultLimits, ...bounds, request: { ...defaultRequestLimits, ...request } };
}
