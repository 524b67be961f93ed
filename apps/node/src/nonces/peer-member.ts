/** Another node of the cluster, as an audit reads it: its stores, over the calls between nodes. */
import type { PeerClient } from '../peer/client.ts';
import { malformed } from '../peer/failures.ts';
import type { AuditMember } from './nonce-audit.ts';
import { type NoncePart, RECORD_BYTES } from './nonce-record.ts';

type NonceClient = Pick<PeerClient, 'nonceRecords' | 'nonceEvidence'>;

/** @param url throws a coded error where the node is not in reach */
export function peerMember(nodeId: string, client: NonceClient, url: () => string): AuditMember {
  return {
    nodeId,
    directory: null,
    reads: 'stores',
    records: (part) => wholeRecords(client, url(), part),
    evidence: async () => client.nonceEvidence(url()),
  };
}

/** The stream cuts records anywhere. */
async function* wholeRecords(
  client: NonceClient,
  url: string,
  part: NoncePart,
): AsyncGenerator<Buffer> {
  const stream = await client.nonceRecords(url, part);
  let rest = Buffer.alloc(0);
  try {
    for await (const piece of stream.chunks) {
      const bytes = Buffer.concat([rest, piece]);
      const whole = bytes.length - (bytes.length % RECORD_BYTES);
      rest = bytes.subarray(whole);
      yield bytes.subarray(0, whole);
    }
  } finally {
    stream.release();
  }
  if (rest.length > 0) throw malformed(url, 'a nonce record that was cut off');
}
