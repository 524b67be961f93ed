/** What the audit trail says of a key-lifecycle entry: everything but key bytes and credentials. */
import type { KeyLifecycleEntry, NewKey } from '@raftseal/applier';
import type { WrappedKey } from '@raftseal/interface';

/** By name; plain values only. */
export function entryFacts(entry: KeyLifecycleEntry): Readonly<Record<string, unknown>> {
  switch (entry.kind) {
    case 'bootstrap':
      return {
        clusterId: Buffer.from(entry.clusterId).toString('hex'),
        keys: entry.keys.map(keyFacts),
        writers: entry.writers,
      };
    case 'register':
      return { nodeId: entry.nodeId, dekId: entry.dekId, epoch: entry.epoch };
    case 'rotate-dek':
      return keyFacts(entry);
    case 'enable-raft':
      return {
        dekId: entry.dekId,
        controlIndex: `${entry.controlIndex}`,
        ...(entry.waves && { waves: entry.waves }),
      };
    case 'rewrap-deks':
      return {
        keys: entry.keys.map(({ dekId, wraps }) => ({ dekId, kekUris: kekUrisOf(wraps) })),
      };
    case 'enable-storage':
    case 'retire-dek':
      return { dekId: entry.dekId };
    case 'enable-sealed-only':
      return {};
    case 'register-backup':
      return { backupId: entry.backupId, dekIds: entry.dekIds };
    case 'forget-backup':
      return { backupId: entry.backupId };
  }
}

function keyFacts({ dekId, purpose, wraps }: NewKey): Readonly<Record<string, unknown>> {
  return { dekId, purpose, kekUris: kekUrisOf(wraps) };
}

function kekUrisOf(wraps: readonly WrappedKey[]): readonly string[] {
  return wraps.map(({ kekUri }) => withoutCredentials(kekUri));
}

/**
 * A KEK URI as it may be shown. No provider takes credentials in its URI; one that was given some
 * nevertheless is refused, and what was refused is shown too.
 */
export function withoutCredentials(kekUri: string): string {
  return kekUri
    .replace(/\/\/[^/?#@]*@/, '//...@')
    .replace(/([?&;][\w.-]*(?:pin-value|password|secret)[\w.-]*=)[^&;#]*/gi, '$1...')
    .replace(/([?&][\w.-]*token[\w.-]*=)[^&;#]*/gi, '$1...');
}
