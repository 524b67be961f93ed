/** Audit trails, entries to put into them, and what is in their files. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AppliedEntry, initialKeyState, type KeyLifecycleEntry } from '@raftseal/applier';
import type { KeyState } from '@raftseal/interface';
import { onTestFinished } from 'vitest';
import { AuditTrail, type AuditTrailOptions } from '../../src/audit/audit-trail.ts';
import type { AuditRecord } from '../../src/audit/record.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

export const NODE_ID = 'node-1';

export function newTrailDirectory(): string {
  return join(temporaryDirectory(), 'audit');
}

/** As a process opens it; closed when the test is over. */
export async function openTrail(
  directory: string,
  options: Partial<AuditTrailOptions> = {},
): Promise<AuditTrail> {
  const trail = await AuditTrail.open({ directory, nodeId: NODE_ID, ...options });
  onTestFinished(() => trail.close());
  return trail;
}

export function applied(
  index: bigint,
  entry: KeyLifecycleEntry = { kind: 'retire-dek', dekId: Number(index) },
  shardId = 0,
): AppliedEntry {
  return { shardId, index, entry, outcome: { kind: 'applied' } };
}

export const bootstrap: KeyLifecycleEntry = {
  kind: 'bootstrap',
  clusterId: new Uint8Array(16).fill(0xc1),
  keys: (['storage', 'raft', 'index'] as const).map((purpose, at) => ({
    dekId: at + 1,
    purpose,
    wraps: [
      { kekUri: `vault-transit:https://user:hunter2@host/transit/keys/k`, bytes: randomBytes(60) },
    ],
    createdAtMs: 0,
  })),
  writers: [NODE_ID],
};

/** A key state that has applied so far. */
export function stateAt(...applied: readonly (readonly [number, bigint])[]): KeyState {
  return { ...initialKeyState(NODE_ID), appliedIndex: new Map(applied) };
}

export function fileNames(directory: string): string[] {
  return readdirSync(directory).toSorted();
}

/** Every line of a trail, over all files. */
export function linesOf(directory: string): string[] {
  return fileNames(directory).flatMap((name) =>
    readFileSync(join(directory, name), 'utf8').split('\n').slice(0, -1),
  );
}

export function recordsOf(directory: string): AuditRecord[] {
  return linesOf(directory).map((line) => JSON.parse(line) as AuditRecord);
}

/** Replaces the lines of a trail that is one file. */
export function rewriteLines(directory: string, change: (lines: string[]) => string[]): void {
  const [name = ''] = fileNames(directory);
  writeFileSync(
    join(directory, name),
    change(linesOf(directory))
      .map((line) => `${line}\n`)
      .join(''),
  );
}
