/** `raftseal shard`: who should lead a shard. */
import { Command } from 'commander';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { wholeNumber } from './options.ts';

export function shardCommand(): Command {
  const prefer = withNodeAddress(new Command('prefer'))
    .description('have a node lead a shard whenever it can; `none` leaves it to the spread')
    .argument('<shard>', 'shard id', wholeNumber('shard', { min: 0, max: 1023 }))
    .argument('<node>', 'id of the node, or none')
    .action(async (shard: number, node: string, options: NodeAddressOptions) => {
      const nodeId = node === 'none' ? null : node;
      await (await adminClient(options)).post('/v1/shards/prefer', { shard, nodeId });
      process.stdout.write(
        nodeId === null
          ? `shard ${shard} is led by whoever the spread says\n`
          : `shard ${shard} goes to ${nodeId}\n`,
      );
    });
  return new Command('shard').description('the shards of the cluster').addCommand(prefer);
}
