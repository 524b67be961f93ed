/** Snapshots as bytes in one piece, and the pieces in which they travel. */
import { createHash } from 'node:crypto';
import type { RowSeal } from '@raftseal/interface';
import type { KvSnapshot, KvStateMachine, SnapshotExpectation } from '../../src/index.ts';

export interface WholeSnapshot {
  readonly bytes: Buffer;
  readonly expected: SnapshotExpectation;
  readonly rowCount: number;
}

export async function readSnapshot(snapshot: KvSnapshot): Promise<WholeSnapshot> {
  const chunks: Buffer[] = [];
  for await (const chunk of snapshot.chunks()) chunks.push(chunk);
  const { index, timestampMs, rowCount } = snapshot;
  return { bytes: Buffer.concat(chunks), expected: { index, timestampMs }, rowCount };
}

export async function snapshotOf(machine: KvStateMachine): Promise<WholeSnapshot> {
  return readSnapshot(await machine.snapshot());
}

/** The bytes in pieces of so many. */
export async function* cut(bytes: Buffer, pieceBytes = 1 << 16): AsyncGenerator<Buffer, void> {
  for (let from = 0; from < bytes.length; from += pieceBytes) {
    yield bytes.subarray(from, from + pieceBytes);
  }
}

export function install(
  machine: KvStateMachine,
  { bytes, expected }: Pick<WholeSnapshot, 'bytes' | 'expected'>,
  pieceBytes?: number,
): ReturnType<KvStateMachine['install']> {
  return machine.install(cut(bytes, pieceBytes), expected);
}

const HEADER_BYTES = 30;

export interface Frame {
  readonly kind: number;
  readonly body: Buffer;
}

/** What stands in a snapshot, for tests that build others of it. */
export function framesOf(bytes: Buffer): { header: Buffer; frames: Frame[] } {
  const frames: Frame[] = [];
  for (let at = HEADER_BYTES; at < bytes.length; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    frames.push({ kind: bytes[at] ?? 0, body: bytes.subarray(at + 5, end) });
    at = end;
  }
  return { header: bytes.subarray(0, HEADER_BYTES), frames };
}

function frameBytes({ kind, body }: Frame): Buffer {
  const header = Buffer.alloc(5);
  header[0] = kind;
  header.writeUInt32BE(body.length, 1);
  return Buffer.concat([header, body]);
}

/**
 * A snapshot of these frames whose counts and digest are right, as somebody makes one who can write
 * but has no keys.
 * @param seal makes the seal right too: the work of a node.
 */
export function assemble(header: Buffer, frames: readonly Frame[], seal?: RowSeal): Buffer {
  const rows = frames.filter(({ kind }) => kind < 5);
  const counts = Buffer.alloc(16);
  counts.writeBigUInt64BE(BigInt(rows.filter(({ kind }) => kind === 3).length), 0);
  counts.writeBigUInt64BE(BigInt(rows.filter(({ kind }) => kind === 4).length), 8);
  const before = Buffer.concat([
    header,
    ...rows.map(frameBytes),
    frameBytes({ kind: 5, body: Buffer.concat([counts, Buffer.alloc(32)]) }).subarray(0, -32),
  ]);
  const digest = createHash('sha256').update(before).digest();
  const shardId = header.readUInt32BE(10);
  const sealFrame =
    seal === undefined
      ? frames.filter(({ kind }) => kind === 6)
      : [{ kind: 6, body: sealOf(seal, shardId, digest) }];
  return Buffer.concat([before, digest, ...sealFrame.map(frameBytes)]);
}

function sealOf(seal: RowSeal, shardId: number, digest: Buffer): Buffer {
  const header = Buffer.alloc(9);
  header[0] = 0x81;
  const rowKey = seal.rowKey(shardId, Buffer.from('raftseal snapshot'));
  return seal.seal(shardId, rowKey, header, digest);
}
