/**
 * `raftseal encryption enable`: turns sealing on for a running node, and follows it per shard;
 * `raftseal encryption seal-only`: has nothing but what is sealed read from then on.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { RaftsealError } from '@raftseal/interface';
import { Command } from 'commander';
import type { NodeStatus, ShardStatus } from '../admin/operations.ts';
import type { AdminClient } from './admin-client.ts';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { optionError } from './options.ts';

const POLL_MS = 100;

interface EnableOptions extends NodeAddressOptions {
  readonly waves?: string;
}

export function encryptionCommand(): Command {
  const enable = withNodeAddress(new Command('enable'))
    .description('seal everything written from now on; one-way; safe to repeat')
    .option('--waves <shards>', 'order of the shards, such as 1/2,3: shard 1 first, then 2 and 3')
    .action(async (options: EnableOptions) => {
      const client = await adminClient(options);
      const waves = options.waves === undefined ? undefined : parseWaves(options.waves);
      await client.post('/v1/encryption/enable', waves === undefined ? {} : { waves });
      await followCutover(client);
    });
  const sealOnly = withNodeAddress(new Command('seal-only'))
    .description('refuse whatever is in the clear from now on; one-way; safe to repeat')
    .action(async (options: NodeAddressOptions) => {
      const client = await adminClient(options);
      const { sealedOnlyIndex } = await client.post<NodeStatus>('/v1/encryption/seal-only', {}, 0);
      process.stdout.write(`sealed-only since index ${sealedOnlyIndex} of shard 0\n`);
    });
  return new Command('encryption')
    .description('turn encryption on, for good')
    .addCommand(enable)
    .addCommand(sealOnly);
}

/** @throws RAFTSEAL_NODE_OPTION */
export function parseWaves(text: string): readonly (readonly number[])[] {
  if (!/^\d+([,/]\d+)*$/.test(text)) {
    throw optionError(`--waves: expected shard ids such as 1/2,3, found "${text}"`);
  }
  return text.split('/').map((wave) => wave.split(',').map(Number));
}

/** Prints each shard as it is cut over; ends when all are. Interrupting it stops only the view. */
async function followCutover(client: AdminClient): Promise<void> {
  const reported = new Set<number>();
  for (;;) {
    const { shards } = await client.get<NodeStatus>('/v1/status');
    for (const shard of shards) {
      if (shard.log === 'cleartext' || reported.has(shard.shardId)) continue;
      reported.add(shard.shardId);
      process.stdout.write(`${progressLine(shard)} (${reported.size} of ${shards.length})\n`);
    }
    if (reported.size === shards.length) return;
    const halted = shards.find((shard) => shard.haltCode !== null);
    if (halted) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_SHARD_HALTED',
        `shard ${halted.shardId} halted (${halted.haltCode}); the others go on`,
      );
    }
    await delay(POLL_MS);
  }
}

function progressLine(shard: ShardStatus): string {
  const waited =
    shard.cutoverGateMs === null ? '' : `, writes waited ${shard.cutoverGateMs.toFixed(1)} ms`;
  return `shard ${shard.shardId}: sealed above index ${shard.cutoverIndex}${waited}`;
}
