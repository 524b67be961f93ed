/** `raftseal retire-dek`: has every replica forget a data key that nothing needs any more. */
import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { type Blocker, textOf } from '../retirement/blocker.ts';
import type { RetirementReceipt } from '../retirement/retirement.ts';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { wholeNumber } from './options.ts';

interface RetireOptions extends NodeAddressOptions {
  readonly dek: number;
  readonly dryRun?: true;
  readonly receipt?: string;
}

/** Logs are waited for, and every row of every member is looked at. */
const TIMEOUT_MS = 10 * 60_000;

export function retireDekCommand(): Command {
  return withNodeAddress(new Command('retire-dek'))
    .description('forget a data key that nothing needs any more; says what needs it, if anything does')
    .requiredOption('--dek <id>', 'which key', wholeNumber('dek', { min: 1, max: 0xffff_ffff }))
    .option('--dry-run', 'say what needs the key, and change nothing')
    .option('--receipt <file>', 'write the receipt to a new file')
    .action((options: RetireOptions) => (options.dryRun ? showBlockers(options) : retire(options)));
}

async function showBlockers(options: RetireOptions): Promise<void> {
  const client = await adminClient(options);
  const path = `/v1/keys/blockers?dek=${options.dek}`;
  const { blockers } = await client.get<{ blockers: Blocker[] }>(path);
  const lines = blockers.map((blocker) => `- ${textOf(blocker)}\n`);
  process.stdout.write(
    lines.length === 0
      ? `nothing needs DEK ${options.dek}: it can be retired\n`
      : `DEK ${options.dek} is needed:\n${lines.join('')}`,
  );
}

async function retire({ dek, receipt: path, ...address }: RetireOptions): Promise<void> {
  const client = await adminClient(address);
  const body = { dekId: dek };
  const receipt = await client.post<RetirementReceipt>('/v1/keys/retire', body, TIMEOUT_MS);
  const text = `${JSON.stringify(receipt, null, 2)}\n`;
  if (path !== undefined) await writeFile(path, text, { flag: 'wx', mode: 0o600 });
  process.stdout.write(
    `DEK ${dek} (${receipt.purpose}) is retired: ${receipt.members.length} members and ` +
      `${receipt.logs.length} logs hold nothing under it\n${path === undefined ? text : ''}`,
  );
}
