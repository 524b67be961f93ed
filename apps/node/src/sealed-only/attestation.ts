/**
 * What a member says about everything it has, for the leader of the control shard to put together
 * with what the others say. It comes from another node, so it is read with checks.
 */
import type { VerifyReport } from '../verify/report.ts';
import type { CleartextLeft } from './cleartext-left.ts';

/** What a node has found, having read all of it. */
export interface Attestation extends CleartextLeft {
  /** Hex; null without keys. */
  readonly clusterId: string | null;
  readonly release: string;
  readonly sealedOnlyIndex: string | null;
  readonly report: VerifyReport;
}

/** Everything that keeps a member from being sealed throughout, one line each. */
export function blockersOf({ left, report }: Attestation): readonly string[] {
  const keyEntries = report.logs
    .filter(({ cleartextKeyLifecycle }) => cleartextKeyLifecycle > 0)
    .map(
      ({ shardId, cleartextKeyLifecycle }) =>
        `shard ${shardId}: ${cleartextKeyLifecycle} key-lifecycle entries in the clear`,
    );
  return [...new Set([...left, ...report.cleartext, ...keyEntries, ...report.problems])];
}

export function isCleartextLeft(value: unknown): value is CleartextLeft {
  return isRecord(value) && isText(value.nodeId) && isListOf(value.left, isText);
}

export function isAttestation(value: unknown): value is Attestation {
  if (!isCleartextLeft(value)) return false;
  const { clusterId, release, sealedOnlyIndex, report } = value as unknown as Fields;
  return (
    isTextOrNull(clusterId) &&
    isText(release) &&
    isTextOrNull(sealedOnlyIndex) &&
    isRecord(report) &&
    report.clean === (Array.isArray(report.problems) && report.problems.length === 0) &&
    isListOf(report.logs, isLog) &&
    isListOf(report.stores, isStore) &&
    isListOf(report.files, isFile) &&
    isListOf(report.problems, isText) &&
    isListOf(report.cleartext, isText)
  );
}

type Fields = Readonly<Record<string, unknown>>;

function isLog(value: unknown): boolean {
  return (
    isRecord(value) &&
    isCount(value.shardId) &&
    isTextOrNull(value.cutoverIndex) &&
    isTextOrNull(value.firstIndex) &&
    isTextOrNull(value.lastIndex) &&
    isCount(value.cleartextData) &&
    isCount(value.cleartextKeyLifecycle) &&
    isCountByDek(value.sealed)
  );
}

function isStore(value: unknown): boolean {
  return (
    isRecord(value) &&
    isCount(value.shardId) &&
    isCount(value.cleartextRows) &&
    typeof value.cleartextInFreePages === 'boolean' &&
    isCountByDek(value.sealed)
  );
}

function isFile(value: unknown): boolean {
  return isRecord(value) && isText(value.path) && isCount(value.bytes) && isText(value.content);
}

function isCountByDek(value: unknown): boolean {
  return (
    isRecord(value) &&
    Object.entries(value).every(([dekId, count]) => /^\d{1,10}$/.test(dekId) && isCount(count))
  );
}

function isListOf(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isItem);
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function isTextOrNull(value: unknown): boolean {
  return value === null || isText(value);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
