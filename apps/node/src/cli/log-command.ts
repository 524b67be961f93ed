/** `raftseal log inspect`: the entries of a shard's log, without their content. */
import { Command } from 'commander';
import type { LogEntrySummary } from '../verify/log-walk.ts';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { wholeNumber } from './options.ts';
import { table } from './table.ts';

interface InspectOptions extends NodeAddressOptions {
  readonly shard: number;
  readonly from?: number;
  readonly limit: number;
  readonly json?: boolean;
}

export function logCommand(): Command {
  const inspect = withNodeAddress(new Command('inspect'))
    .description('list log entries: index, term, sealed or not, key, size')
    .option('--shard <n>', 'shard', wholeNumber('shard', { min: 0, max: 1023 }), 0)
    .option('--from <index>', 'default: the first', wholeNumber('from', { min: 1, max: 2 ** 48 }))
    .option('--limit <n>', 'how many', wholeNumber('limit', { min: 1, max: 10_000 }), 100)
    .option('--json', 'as JSON')
    .action(async (options: InspectOptions) => {
      const { shard, from, limit } = options;
      const client = await adminClient(options);
      const first = from === undefined ? '' : `&from=${from}`;
      const path = `/v1/log?shard=${shard}&limit=${limit}${first}`;
      const entries = await client.get<readonly LogEntrySummary[]>(path);
      const text = options.json ? JSON.stringify(entries, null, 2) : entryTable(entries);
      process.stdout.write(`${text}\n`);
    });
  return new Command('log').description('the logs of the shards').addCommand(inspect);
}

function entryTable(entries: readonly LogEntrySummary[]): string {
  return table(
    ['index', 'term', 'payload', 'dekId', 'kind', 'bytes'],
    entries.map((entry) => [
      entry.index,
      entry.term,
      entry.payload,
      entry.dekId ?? '-',
      entry.kind ?? '-',
      entry.bytes,
    ]),
  );
}
