/** `raftseal retire-dek`: has every replica forget a data key that nothing needs any more. */
import { writeFile } from 'node:fs/promises';
import { codeOf } from '@raftseal/interface';
import { Command } from 'commander';
import { type Blocker, textOf } from '../retirement/blocker.ts';
import type { RetirementReceipt } from '../retirement/retirement.ts';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { optionError, wholeNumber } from './options.ts';

interface RetireOptions extends NodeAddressOptions {
  readonly dek: number;
  readonly dryRun?: true;
  readonly receipt?: string;
}

/** Logs are waited for, and every row of every member is looked at. */
const TIMEOUT_MS = 10 * 60_000;

export function retireDekCommand(): Command {
  return withNodeAddress(new Command('retire-dek'))
    .description(
      'forget a data key that nothing needs any more; says what needs it, if anything does',
    )
    .requiredOption('--dek <id>', 'which key', wholeNumber('dek', { min: 1, max: 0xffff_ffff }))
    .option('--dry-run', 'say what needs the key, and change nothing')
    .option('--receipt <file>', 'write the receipt to a new file')
    .action((options: RetireOptions) => (options.dryRun ? showBlockers(options) : retire(options)));
}

async function showBlockers({ dek, ...address }: RetireOptions): Promise<void> {
  const client = await adminClient(address);
  const path = '/v1/keys/blockers';
  const { blockers } = await client.post<{ blockers: Blocker[] }>(path, { dekId: dek }, TIMEOUT_MS);
  const lines = blockers.map((blocker) => `- ${textOf(blocker)}\n`);
  process.stdout.write(
    lines.length === 0
      ? `nothing needs DEK ${dek}: it can be retired\n`
      : `DEK ${dek} is needed:\n${lines.join('')}`,
  );
}

async function retire({ dek, receipt: path, ...address }: RetireOptions): Promise<void> {
  const client = await adminClient(address);
  if (path !== undefined) await makeFile(path);
  const body = { dekId: dek };
  const receipt = await client.post<RetirementReceipt>('/v1/keys/retire', body, TIMEOUT_MS);
  const text = `${JSON.stringify(receipt, null, 2)}\n`;
  if (path !== undefined) await writeFile(path, text);
  process.stdout.write(
    `DEK ${dek} (${receipt.purpose}) is retired: ${receipt.members.length} members and ` +
      `${receipt.logs.length} logs hold nothing under it\n${path === undefined ? text : ''}`,
  );
}

/** Made before anything is asked for, so that there is a place for the answer. */
async function makeFile(path: string): Promise<void> {
  try {
    await writeFile(path, '', { flag: 'wx', mode: 0o600 });
  } catch (error) {
    const reason = codeOf(error) ?? 'unexpected error';
    throw optionError(
      `--receipt: ${path} cannot be made (${reason}): name a file that is not there`,
    );
  }
}
