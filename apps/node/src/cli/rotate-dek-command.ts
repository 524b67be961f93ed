/** `raftseal rotate-dek`: makes a new active data key. */
import { Command } from 'commander';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { oneOf } from './options.ts';

const purposes = ['raft', 'storage', 'index'] as const;

export function rotateDekCommand(): Command {
  return withNodeAddress(new Command('rotate-dek'))
    .description('make a new active data key; older ones stay to open what they sealed')
    .requiredOption('--purpose <raft|storage|index>', 'which key', oneOf('purpose', purposes))
    .action(async (options: NodeAddressOptions & { readonly purpose: string }) => {
      const client = await adminClient(options);
      const { purpose } = options;
      const { dekId } = await client.post<{ dekId: number }>('/v1/keys/rotate', { purpose });
      process.stdout.write(`new active ${purpose} DEK ${dekId}\n`);
    });
}
