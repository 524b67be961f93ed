/** `raftseal member`: who belongs to the cluster. */
import { Command } from 'commander';
import type { ClusterStatus, NodeStatus } from '../admin/operations.ts';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { optionError } from './options.ts';
import { table } from './table.ts';

export function memberCommand(): Command {
  const list = withNodeAddress(new Command('list'))
    .description('name the members, where they are and what they lead')
    .action(async (options: NodeAddressOptions) => {
      const { cluster } = await (await adminClient(options)).get<NodeStatus>('/v1/status');
      if (!cluster) throw optionError('this node is alone: start nodes with --etcd for a cluster');
      process.stdout.write(`${memberText(cluster)}\n`);
    });
  const promote = change('promote', 'make a learner a voter, which can lead shards');
  const remove = change('remove', 'remove a member for good; it stops, and cannot come back');
  return new Command('member')
    .description('the members of the cluster')
    .addCommand(list)
    .addCommand(promote)
    .addCommand(remove);
}

function change(verb: 'promote' | 'remove', description: string): Command {
  return withNodeAddress(new Command(verb))
    .description(description)
    .argument('<node>', 'id of the node')
    .action(async (nodeId: string, options: NodeAddressOptions) => {
      await (await adminClient(options)).post(`/v1/members/${verb}`, { nodeId });
      process.stdout.write(`${verb}d ${nodeId}\n`);
    });
}

export function memberText({ name, members }: ClusterStatus): string {
  const rows = members.map((member) => [
    member.isSelf ? `${member.nodeId} (this node)` : member.nodeId,
    member.role,
    member.isAlive ? 'alive' : 'out of reach',
    member.redis ?? '-',
    member.peer ?? '-',
    member.leads.length === 0 ? '-' : member.leads.join(' '),
  ]);
  return [
    `cluster ${name}`,
    '',
    table(['member', 'role', 'state', 'clients', 'peers', 'leads shards'], rows),
  ].join('\n');
}
