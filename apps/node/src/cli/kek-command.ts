/** `raftseal kek`: makes a KEK file; tells a running node to use other KEKs. */
import { createKekFile } from '@raftseal/kek-file';
import { Command } from 'commander';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';

export function kekCommand(): Command {
  const create = new Command('create')
    .description('make a file of 32 random bytes, mode 0600; keep it off the data disk, back it up')
    .argument('<file>', 'must not exist yet')
    .action(async (path: string) => {
      await createKekFile(path);
      process.stdout.write(`made ${path}; start the node with --kek file:${path}\n`);
    });
  const use = withNodeAddress(new Command('use'))
    .description('let a running node go over to other KEKs, which have to open every data key')
    .argument('<uri...>', 'every KEK that the node has from now on')
    .action(async (kekUris: readonly string[], options: NodeAddressOptions) => {
      const client = await adminClient(options);
      await client.post('/v1/keks/use', { kekUris });
      process.stdout.write(
        `the node uses ${kekUris.join(' and ')}; start it with the same from now on\n`,
      );
    });
  return new Command('kek').description('key-encryption keys').addCommand(create).addCommand(use);
}
