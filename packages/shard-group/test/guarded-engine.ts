/** Engines over an engine, for tests. */
import type { AppendOutcome, AppendRequest, RaftEngine } from '@raftseal/interface';

export interface GuardedEngine {
  readonly engine: RaftEngine;
  /** Indexes of the entries whose payload was written into while the append was under way. */
  readonly changed: bigint[];
  /** The memory that payloads came in. */
  readonly buffers: Set<ArrayBufferLike>;
}

/** Watches whether payloads stay unchanged until their append ends. */
export function guardedEngine(inner: RaftEngine): GuardedEngine {
  const changed: bigint[] = [];
  const buffers = new Set<ArrayBufferLike>();
  const engine = withAppend(inner, async (request) => {
    const before = Buffer.from(request.payload);
    buffers.add(request.payload.buffer);
    const outcome = await inner.append(request);
    if (!before.equals(request.payload)) changed.push(request.index);
    return outcome;
  });
  return { engine, changed, buffers };
}

function withAppend(
  inner: RaftEngine,
  append: (request: AppendRequest) => Promise<AppendOutcome>,
): RaftEngine {
  return {
    append,
    limits: inner.limits,
    elect: (signal) => inner.elect(signal),
    read: (request) => inner.read(request),
    bounds: () => inner.bounds(),
    truncate: (throughIndex) => inner.truncate(throughIndex),
    members: () => inner.members(),
    close: () => inner.close(),
  };
}
