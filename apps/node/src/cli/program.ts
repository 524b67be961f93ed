/**
 * The command tree of `raftseal`. What makes up a node is loaded by the commands that need it: most
 * only ask one that runs.
 */
import { Command } from 'commander';
import { version } from '../version.ts';
import { auditCommand } from './audit-command.ts';
import { backupCommand } from './backup-command.ts';
import { encryptionCommand } from './encryption-command.ts';
import { kekCommand } from './kek-command.ts';
import { logCommand } from './log-command.ts';
import { memberCommand } from './member-command.ts';
import { noncesCommand } from './nonces-command.ts';
import { resyncSidecarCommand } from './resync-sidecar-command.ts';
import { retireDekCommand } from './retire-dek-command.ts';
import { rewrapDeksCommand } from './rewrap-deks-command.ts';
import { rotateDekCommand } from './rotate-dek-command.ts';
import { shardCommand } from './shard-command.ts';
import { sidecarCommand } from './sidecar-command.ts';
import { startCommand } from './start-command.ts';
import { statusCommand } from './status-command.ts';
import { verifyCommand } from './verify-command.ts';

export function program(): Command {
  const root = new Command('raftseal')
    .description('A Redis-protocol store that keeps every byte it writes down sealed.')
    .version(version)
    .addCommand(startCommand())
    .addCommand(statusCommand())
    .addCommand(encryptionCommand())
    .addCommand(rotateDekCommand())
    .addCommand(rewrapDeksCommand())
    .addCommand(retireDekCommand())
    .addCommand(logCommand())
    .addCommand(verifyCommand())
    .addCommand(noncesCommand())
    .addCommand(auditCommand())
    .addCommand(backupCommand())
    .addCommand(memberCommand())
    .addCommand(shardCommand())
    .addCommand(sidecarCommand())
    .addCommand(resyncSidecarCommand())
    .addCommand(kekCommand());
  throwInsteadOfExit(root);
  return root;
}

/** A command that is added does not inherit settings. */
function throwInsteadOfExit(command: Command): void {
  command.exitOverride().showHelpAfterError('(--help lists commands and options)');
  for (const subcommand of command.commands) throwInsteadOfExit(subcommand);
}
