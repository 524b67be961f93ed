/** `raftseal rewrap-deks`: wraps the data keys under the KEKs that the nodes have now. */
import { Command } from 'commander';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';

export function rewrapDeksCommand(): Command {
  return withNodeAddress(new Command('rewrap-deks'))
    .description('wrap every data key under the KEKs that the nodes have now, and no others')
    .action(async (options: NodeAddressOptions) => {
      const client = await adminClient(options);
      const { kekUris } = await client.post<{ kekUris: string[] }>('/v1/keys/rewrap', {});
      process.stdout.write(`every data key is wrapped under ${kekUris.join(' and ')}\n`);
    });
}
