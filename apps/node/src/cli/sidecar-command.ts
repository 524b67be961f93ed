/** `raftseal sidecar inspect`: the key state of a node in JSON, without any key. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '@raftseal/interface';
import { inspectSidecar, SIDECAR_FILE_NAME } from '@raftseal/sidecar';
import { Command } from 'commander';
import { dataDirectoryPaths } from '../data-directory.ts';
import { DATA_PATH_DEFAULT } from './node-address.ts';
import { optionError } from './options.ts';

export function sidecarCommand(): Command {
  const inspect = new Command('inspect')
    .description('show the key state as JSON; works while the node runs; the MAC is not checked')
    .option('--data <dir>', 'the data directory', DATA_PATH_DEFAULT)
    .option('--file <file>', 'a sidecar elsewhere, such as in a backup')
    .action(async (options: { readonly data: string; readonly file?: string }) => {
      const path = options.file ?? join(dataDirectoryPaths(options.data).keys, SIDECAR_FILE_NAME);
      const inspection = inspectSidecar(await readSidecar(path));
      process.stdout.write(`${JSON.stringify(inspection, null, 2)}\n`);
    });
  return new Command('sidecar').description('the key-state file').addCommand(inspect);
}

async function readSidecar(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw optionError(
      `${path} cannot be read (${codeOf(cause) ?? 'unexpected error'}): a node that never sealed ` +
        'anything has no sidecar; --data or --file says where to look',
    );
  }
}
