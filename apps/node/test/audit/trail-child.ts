/**
 * A process that records entries in an audit trail, for audit-trail.test.ts. Argument: the folder.
 * Goes on behind the last recorded entry, and prints each index once its record is durable.
 */
import { writeSync } from 'node:fs';
import { AuditTrail } from '../../src/audit/audit-trail.ts';

const [directory = ''] = process.argv.slice(2);

async function run(): Promise<void> {
  const trail = await AuditTrail.open({ directory, nodeId: 'node-1', fileBytesMax: 3000 });
  const first = trail.recorded.get(0) ?? 0n;
  for (let index = first + 1n; index <= first + 100n; index++) {
    const entry = { kind: 'retire-dek', dekId: 7 } as const;
    await trail.note({ shardId: 0, index, entry, outcome: { kind: 'applied' } });
    writeSync(1, `${index}\n`);
  }
}

void run();
