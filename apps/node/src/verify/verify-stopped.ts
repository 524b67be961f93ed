/** Verification without a node: opens what is on disk, and closes it again. */
import { RaftsealError } from '@raftseal/interface';
import type { Logger } from 'pino';
import { readIdentity } from '../data-directory.ts';
import { embeddedSource, type FoundationsConfig, openFoundations } from '../foundations.ts';
import { Teardown } from '../teardown.ts';
import type { VerifyReport } from './report.ts';
import { verifyNode } from './verify.ts';

/**
 * Verifies the data directory of a node that is not running. Only a torn tail of the log is mended,
 * as at any start.
 */
export async function verifyStoppedNode(
  config: FoundationsConfig,
  log: Logger,
): Promise<VerifyReport> {
  if ((await readIdentity(config.dataPath)) === undefined) throw noDataDirectory(config.dataPath);
  const teardown = new Teardown();
  try {
    const parts = { log, teardown };
    return await verifyNode(await openFoundations(config, embeddedSource(config), parts));
  } finally {
    await teardown.run();
  }
}

function noDataDirectory(path: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_DATA_DIR',
    `expected the data directory of a node at ${path}, found none: --data says where it is`,
  );
}
