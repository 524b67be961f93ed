/** `raftseal kek create`: makes a KEK file. */
import { createKekFile } from '@raftseal/kek-file';
import { Command } from 'commander';

export function kekCommand(): Command {
  const create = new Command('create')
    .description('make a file of 32 random bytes, mode 0600; keep it off the data disk, back it up')
    .argument('<file>', 'must not exist yet')
    .action(async (path: string) => {
      await createKekFile(path);
      process.stdout.write(`made ${path}; start the node with --kek file:${path}\n`);
    });
  return new Command('kek').description('key-encryption keys').addCommand(create);
}
