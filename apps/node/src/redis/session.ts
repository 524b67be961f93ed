/** What the server remembers of one client between its requests. */
import type { ByteString } from '@raftseal/interface';
import type { Command } from './command.ts';

export interface QueuedCommand {
  readonly command: Command;
  readonly args: readonly ByteString[];
}

/** What stands between MULTI and EXEC. */
export interface Transaction {
  readonly commands: QueuedCommand[];
  /** Something that was to be queued was refused: EXEC will discard the transaction. */
  aborted: boolean;
  /** Bytes of the arguments. */
  bytes: number;
}

export interface Session {
  authenticated: boolean;
  authFailures: number;
  name: ByteString;
  libraryName: ByteString;
  libraryVersion: ByteString;
  /** CLIENT REPLY: whether replies are sent, and whether this or the next one is left out. */
  replies: 'on' | 'off';
  skipsReply: boolean;
  skipsNextReply: boolean;
  transaction: Transaction | undefined;
  /** EXEC is running the commands of the front end: none of them may take its time. */
  runsTransaction: boolean;
  /** Watched keys with the version each had. */
  readonly watched: Map<ByteString, bigint>;
  /** The slot of watched and queued keys; undefined while there are none. */
  slot: number | undefined;
  /** READONLY: reads of shards that are led elsewhere are answered here, perhaps from the past. */
  readsStale: boolean;
  lastCommand: string;
}

export function newSession(authenticated: boolean): Session {
  return {
    authenticated,
    authFailures: 0,
    name: '',
    libraryName: '',
    libraryVersion: '',
    replies: 'on',
    skipsReply: false,
    skipsNextReply: false,
    transaction: undefined,
    runsTransaction: false,
    watched: new Map(),
    slot: undefined,
    readsStale: false,
    lastCommand: 'NULL',
  };
}

/** Forgets the open transaction and the watched keys. */
export function endTransaction(session: Session): void {
  session.transaction = undefined;
  session.watched.clear();
  session.slot = undefined;
}

/** What the session holds beside its fixed size, in bytes, about. */
export function sessionBytes(session: Session): number {
  let bytes = session.transaction?.bytes ?? 0;
  for (const key of session.watched.keys()) bytes += key.length + 32;
  return bytes;
}
