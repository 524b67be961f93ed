/**
 * One client's TCP connection: requests in, replies out, in the same order, with a bound on
 * everything in between.
 *
 * - Consecutive writes are proposed without waiting; each has a place in the order of replies
 *   ({@link PendingReply}). Everything else waits until those places are filled.
 * - What may not run yet makes the connection `stalled`: no request is parsed any further, and once
 *   enough bytes wait, the socket is not read any further either.
 * - Replies gather in one buffer, and leave in one write per turn of the event loop. While a write
 *   is under way the next ones gather; nothing is queued inside the socket.
 */
import type { Socket } from 'node:net';
import type { ByteString, RaftsealError, Reply } from '@raftseal/interface';
import { ProtocolError, ReplyWriter, RequestParser, type RespVersion } from '@raftseal/resp';
import type { Client, ClientBytes } from './client.ts';
import type { FrontEnd } from './front-end.ts';
import type { Shard } from './keyspace.ts';
import type { PendingReply } from './pending-reply.ts';
import { ReadConfirmations } from './read-confirmations.ts';
import { internalError } from './reply-texts.ts';
import { newSession, type Session, sessionBytes } from './session.ts';

/** Requests of one client that run before others get their turn. */
const REQUESTS_PER_TURN = 2048;
/** Chunks received but not parsed; each costs some hundred bytes, however small it is. */
const UNREAD_CHUNKS_MAX = 64;
/** How long a closed connection waits for the client to have read the last reply. */
const LINGER_MS = 250;

export class Connection implements Client {
  readonly id: number;
  readonly server: FrontEnd;
  readonly session: Session;
  readonly remote: string;
  readonly local: string;
  readonly createdAtMs: number;
  activeAtMs: number;
  /** Scheduled to be flushed, and to be resumed, in this turn. Kept for the server. */
  dirty = false;
  resuming = false;

  readonly #socket: Socket;
  readonly #parser: RequestParser;
  readonly #writer = new ReplyWriter();
  /** A parsed request that has to wait. */
  #held: ByteString[] | undefined;
  #stalled = false;
  #suspended = false;
  #running = false;
  #firstPending: PendingReply | undefined;
  #lastPending: PendingReply | undefined;
  #inFlight = 0;
  #inFlightBytes = 0;
  #writing = false;
  #reading = true;
  #inputEnded = false;
  /** The reply that ends a stream that cannot be followed. */
  #lastWords: Reply | undefined;
  #closing = false;
  #closed = false;
  #countedBytes = 0;
  #receivedBytes = 0;
  #confirmations: ReadConfirmations | undefined;

  constructor(server: FrontEnd, id: number, socket: Socket) {
    const { limits, password, keyspace } = server;
    this.server = server;
    this.id = id;
    this.#socket = socket;
    this.session = newSession(password === undefined);
    this.remote = endpoint(socket.remoteAddress, socket.remotePort);
    this.local = endpoint(socket.localAddress, socket.localPort);
    this.createdAtMs = keyspace.nowMs();
    this.activeAtMs = this.createdAtMs;
    this.#parser = new RequestParser(limits.request);
    this.#parser.authenticated = this.session.authenticated;
    socket.on('data', (chunk) => this.#received(chunk));
    socket.on('end', () => this.#ended());
    socket.on('error', () => this.close());
    socket.on('close', () => this.#gone());
  }

  /** Writes that wait for their answer. */
  get inFlight(): number {
    return this.#inFlight;
  }

  get suspended(): boolean {
    return this.#suspended;
  }

  get bytes(): ClientBytes {
    return {
      unread: this.#parser.heldBytes,
      unsent: this.#writer.length + this.#socket.writableLength,
      transaction: sessionBytes(this.session),
      total: this.#bytesTotal,
    };
  }

  get #bytesTotal(): number {
    return this.#parser.heldBytes + this.#writer.capacity + sessionBytes(this.session);
  }

  get respVersion(): RespVersion {
    return this.#writer.version;
  }

  set respVersion(version: RespVersion) {
    this.#writer.version = version;
  }

  authenticationChanged(): void {
    this.#parser.authenticated = this.session.authenticated;
  }

  /** Proposes a write; its reply takes the next place. @param slot that of its keys */
  propose(shard: Shard, command: Buffer, slot: number): void {
    const pending = this.server.pendingReplies.take(this);
    pending.silent = this.#silent;
    pending.bytes = command.length;
    pending.slot = slot;
    if (this.#lastPending === undefined) this.#firstPending = pending;
    else this.#lastPending.next = pending;
    this.#lastPending = pending;
    this.#inFlight++;
    this.#inFlightBytes += command.length;
    try {
      shard.propose(command, pending.done);
    } catch (error) {
      // Its place must be filled, or nothing behind it would ever be answered.
      pending.done(error as RaftsealError, null);
    }
  }

  settle(): void {
    let pending = this.#firstPending;
    while (pending?.answered) {
      const { next } = pending;
      this.#inFlight--;
      this.#inFlightBytes -= pending.bytes;
      if (!pending.silent) this.#answer(pending);
      this.server.pendingReplies.release(pending);
      pending = next;
    }
    this.#firstPending = pending;
    if (pending === undefined) this.#lastPending = undefined;
    if (this.#closed) return;
    if (this.#stalled || this.#inputEnded || this.#lastWords !== undefined || this.#closing) {
      this.server.resume(this);
    }
  }

  /** Answers the request that runs now. Everything before it must be answered. */
  reply(reply: Reply): void {
    if (this.#silent || this.#closed) return;
    if (typeof reply === 'object' && reply !== null && 'kind' in reply && reply.kind === 'error') {
      this.server.statistics.errorReplies++;
    }
    this.#encode(reply);
  }

  suspend(): (reply: Reply) => void {
    this.#suspended = true;
    let called = false;
    return (reply) => {
      if (called) return;
      called = true;
      this.#suspended = false;
      this.reply(reply);
      this.server.resume(this);
    };
  }

  /**
   * Whether the log has confirmed, since the request that runs now has come in, that this node
   * leads the shards. `awaited`: the request has to be held, and is executed again once it is known.
   */
  confirmReads(shards: readonly Shard[]): 'confirmed' | 'awaited' | RaftsealError {
    const toConfirm = shards.filter((shard) => shard.confirmRead !== undefined && shard.isServing);
    if (toConfirm.length === 0) return 'confirmed';
    this.#confirmations ??= new ReadConfirmations();
    const requestEnd = this.#receivedBytes - this.#parser.unreadBytes;
    const known = this.#confirmations.outcome(toConfirm, requestEnd);
    if (known !== undefined) return known;
    this.#suspended = true;
    this.#confirmations.ask(toConfirm, { requestEnd, receivedBytes: this.#receivedBytes }, () => {
      this.#suspended = false;
      this.server.resume(this);
    });
    return 'awaited';
  }

  closeAfterReplies(): void {
    this.#closing = true;
    this.#held = undefined;
    this.server.resume(this);
  }

  close(): void {
    this.#closing = true;
    this.#held = undefined;
    this.#socket.destroy();
  }

  /** Goes on after whatever it was stalled for; called once per turn. */
  resume(): void {
    this.resuming = false;
    if (this.#closed) return;
    if (this.#closing || this.#lastWords !== undefined) this.#closeIfAnswered();
    else this.#run();
  }

  /** Sends what was answered, unless an earlier write is still under way. */
  flush(): void {
    this.dirty = false;
    if (this.#closed || this.#writing || this.#writer.length === 0) return;
    const bytes = this.#writer.take();
    this.#writing = true;
    this.server.statistics.bytesSent += bytes.length;
    this.#socket.write(bytes, this.#written);
  }

  readonly #written = (): void => {
    this.#writing = false;
    this.#writer.release();
    if (this.#closed || this.#socket.destroyed) return;
    if (this.#writer.length > 0) this.flush();
    else if (this.#closing || this.#lastWords !== undefined) this.#closeIfAnswered();
    if (this.#stalled) this.server.resume(this);
    this.#count();
  };

  #received(chunk: Buffer): void {
    if (this.#closing || this.#lastWords !== undefined) return;
    this.activeAtMs = this.server.keyspace.nowMs();
    this.server.statistics.bytesReceived += chunk.length;
    this.#receivedBytes += chunk.length;
    this.#parser.feed(chunk);
    if (this.#stalled || this.#suspended) this.#adjustReading();
    else this.#run();
    this.#count();
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    try {
      this.#stalled = !this.#runRequests();
    } catch (error) {
      this.#stop(error);
    }
    this.#running = false;
    if (this.#lastWords !== undefined) this.#closeIfAnswered();
    else if (this.#inputEnded) this.#closeIfIdle();
    this.#adjustReading();
  }

  /** @returns false where something is left to do that has to wait. */
  #runRequests(): boolean {
    for (let left = REQUESTS_PER_TURN; this.#mayRun; left--) {
      const args = this.#held ?? this.#parser.next();
      if (args === undefined) return true;
      this.#held = args;
      if (left === 0) {
        this.server.resumeNextTurn(this);
        return false;
      }
      if (!this.server.executor.execute(this, args)) return false;
      this.#held = undefined;
    }
    return false;
  }

  get #mayRun(): boolean {
    const { limits } = this.server;
    return (
      !this.#suspended &&
      !this.#closing &&
      this.#inFlight < limits.inFlightCommandsMax &&
      this.#inFlightBytes < limits.inFlightBytesMax &&
      this.#writer.length < limits.outputPauseBytes
    );
  }

  get #silent(): boolean {
    return this.session.replies === 'off' || this.session.skipsReply;
  }

  #answer(pending: PendingReply): void {
    if (this.#closed) return;
    if (pending.error === null) {
      this.#encode(pending.reply);
      return;
    }
    const text = this.server.router.errorText(pending.error, pending.slot);
    this.server.statistics.errorReplies++;
    if (text === undefined) this.#stop(pending.error);
    else this.#encode({ kind: 'error', text });
  }

  #encode(reply: Reply): void {
    try {
      this.#writer.reply(reply);
    } catch (error) {
      // Half a reply may be in the buffer: nothing sensible can follow it.
      this.server.report({ level: 'error', message: 'a reply cannot be encoded', error });
      this.close();
      return;
    }
    if (this.#writer.length + this.#socket.writableLength > this.server.limits.outputBytesMax) {
      this.server.evict(this, 'it does not take its replies');
      return;
    }
    this.server.flushSoon(this);
  }

  /** The stream of requests ends here: the error is the last thing that is said. */
  #stop(error: unknown): void {
    this.#held = undefined;
    if (error instanceof ProtocolError) {
      this.server.statistics.protocolErrors++;
      this.#lastWords = { kind: 'error', text: error.reply };
      return;
    }
    this.server.report({ level: 'error', message: 'a command failed unexpectedly', error });
    this.#lastWords = { kind: 'error', text: internalError };
  }

  #closeIfIdle(): void {
    if (!this.#stalled && !this.#suspended && this.#inFlight === 0) this.closeAfterReplies();
  }

  #closeIfAnswered(): void {
    if (this.#inFlight > 0 || this.#suspended) return;
    if (this.#lastWords !== undefined && !this.#closing) {
      this.#closing = true;
      this.session.skipsReply = false;
      this.reply(this.#lastWords);
    }
    if (this.#writing) return;
    if (this.#writer.length > 0) {
      this.server.flushSoon(this);
      return;
    }
    if (this.#socket.writableEnded) return;
    this.#socket.end();
    // What the client still sends is read and dropped: bytes left unread would reset the
    // connection and could take the last reply with them.
    this.#socket.resume();
    setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
  }

  #ended(): void {
    this.#inputEnded = true;
    if (this.#closing) this.#socket.destroy();
    else this.#closeIfIdle();
  }

  #gone(): void {
    this.#closed = true;
    this.#closing = true;
    this.#held = undefined;
    this.server.forget(this);
  }

  #adjustReading(): void {
    if (this.#closing) return;
    const { unreadBytes, unreadChunks } = this.#parser;
    const reads =
      unreadBytes < this.server.limits.unreadBytesMax && unreadChunks < UNREAD_CHUNKS_MAX;
    if (reads === this.#reading) return;
    this.#reading = reads;
    if (reads) this.#socket.resume();
    else this.#socket.pause();
  }

  /** Tells the server what this client makes it hold. */
  #count(): void {
    if (this.#closed || this.#socket.destroyed) return;
    const total = this.#bytesTotal;
    const change = total - this.#countedBytes;
    this.#countedBytes = total;
    this.server.countBytes(change);
  }

  /** What was last told by `#count`. */
  get countedBytes(): number {
    return this.#countedBytes;
  }
}

function endpoint(address: string | undefined, port: number | undefined): string {
  const host = address?.startsWith('::ffff:') ? address.slice(7) : (address ?? '?');
  return host.includes(':') ? `[${host}]:${port ?? 0}` : `${host}:${port ?? 0}`;
}
