/** How a command that cannot be carried out ends: one line with the code, and exit status 1. */
import { codeOf } from '@raftseal/interface';
import { CommanderError } from 'commander';

/** Exit status of a command line that was not understood. */
const USAGE_STATUS = 2;

export function reportFailure(error: unknown): void {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : USAGE_STATUS;
    return;
  }
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`raftseal: ${code ? `${code}: ` : ''}${message}\n`);
  if (!code?.startsWith('RAFTSEAL_') && error instanceof Error) {
    process.stderr.write(`${error.stack ?? ''}\n`);
  }
  process.exitCode = code === 'RAFTSEAL_NODE_OPTION' ? USAGE_STATUS : 1;
}
