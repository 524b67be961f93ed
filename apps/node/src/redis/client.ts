/** What commands see of the client that sent them, and of the server. */
import type { ByteString, Reply } from '@raftseal/interface';
import type { RespVersion } from '@raftseal/resp';
import type { CommandRegistry } from './command-registry.ts';
import type { Keyspace } from './keyspace.ts';
import type { RedisServerLimits } from './options.ts';
import type { PasswordCheck } from './password-check.ts';
import type { Router } from './router.ts';
import type { Session } from './session.ts';
import type { RedisStatistics } from './statistics.ts';

export interface Client {
  readonly id: number;
  readonly server: Server;
  readonly session: Session;
  /** `host:port` of the client's end and of the server's. */
  readonly remote: string;
  readonly local: string;
  readonly createdAtMs: number;
  /** When it last sent something. */
  readonly activeAtMs: number;
  readonly bytes: ClientBytes;
  respVersion: RespVersion;

  /** Allows large requests: to be called with a change of `session.authenticated`. */
  authenticationChanged(): void;

  /**
   * Executes nothing further of this client until the returned function is called with the reply.
   * It may be called late, and after the client has gone.
   */
  suspend(): (reply: Reply) => void;

  /** Executes nothing further, sends what was answered, and closes. */
  closeAfterReplies(): void;

  /** Closes at once. */
  close(): void;
}

/** What a client makes the server hold, in bytes. */
export interface ClientBytes {
  readonly unread: number;
  readonly unsent: number;
  readonly transaction: number;
  readonly total: number;
}

export interface Server {
  readonly keyspace: Keyspace;
  readonly router: Router;
  readonly limits: RedisServerLimits;
  readonly commands: CommandRegistry;
  readonly statistics: RedisStatistics;
  readonly password: PasswordCheck | undefined;
  readonly startedAtMs: number;
  /** 40 hexadecimal digits, different in every run. */
  readonly runId: string;
  readonly port: number;
  readonly host: string;
  readonly clients: ReadonlyMap<number, Client>;
  /** Lines of the `raftseal` section of INFO. */
  infoSection(): readonly (readonly [name: string, value: string | number | bigint])[];
  report(event: ServerEvent): void;
}

/** Something an operator may want to know of; never a key, a value or a password. */
export interface ServerEvent {
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly client?: ByteString;
  readonly error?: unknown;
}
