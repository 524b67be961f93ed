import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { program } from '../../src/cli/program.ts';
import { version } from '../../src/version.ts';
import { runCommand } from './command-run.ts';

/** The words of every command that does something. */
function commandLines(command: Command, words: readonly string[] = []): (readonly string[])[] {
  if (command.commands.length === 0) return [words];
  return command.commands.flatMap((sub) => commandLines(sub, [...words, sub.name()]));
}

const requiredOptions: Readonly<Record<string, readonly string[]>> = {
  'retire-dek': ['--dek', '17'],
  'rotate-dek': ['--purpose', 'raft'],
  'resync-sidecar': ['--kek', 'env:KEK'],
  'backup create': ['--out', 'backups/1'],
  'backup verify': ['backups/1', '--kek', 'env:KEK'],
  'backup restore': ['backups/1', '--kek', 'env:KEK'],
};

const lines = commandLines(program()).map((words) => words.join(' '));

describe('the command line', () => {
  it('has these commands', () => {
    expect(new Set(lines)).toEqual(
      new Set([
        'audit show',
        'audit verify',
        'start',
        'status',
        'encryption enable',
        'encryption seal-only',
        'rotate-dek',
        'rewrap-deks',
        'retire-dek',
        'log inspect',
        'verify',
        'backup create',
        'backup list',
        'backup forget',
        'backup verify',
        'backup restore',
        'nonces audit',
        'member list',
        'member promote',
        'member remove',
        'shard prefer',
        'sidecar inspect',
        'resync-sidecar',
        'kek create',
        'kek use',
      ]),
    );
  });

  it.each(lines)('%s refuses an option it does not know with exit status 2', async (line) => {
    const required = requiredOptions[line] ?? [];
    const end = await runCommand([...line.split(' '), ...required, '--no-such-option']);
    expect(end.exitCode).toBe(2);
    expect(end.stderr).toContain("unknown option '--no-such-option'");
    expect(end.stderr).toContain('--help');
    expect(end.stdout).toBe('');
  });

  it.each(lines)('%s describes itself and its options with exit status 0', async (line) => {
    const end = await runCommand([...line.split(' '), '--help']);
    expect(end).toMatchObject({ exitCode: 0, stderr: '' });
    expect(end.stdout).toContain(`Usage: raftseal ${line}`);
  });

  it.each([['no-such-command'], ['encryption', 'no-such'], ['rotate-dek'], ['kek', 'create']])(
    'refuses %s %s with exit status 2',
    async (...words) => {
      const end = await runCommand(words);
      expect(end).toMatchObject({ exitCode: 2, stdout: '' });
      expect(end.stderr).toMatch(/^error: /);
    },
  );

  it('says its version', async () => {
    const end = await runCommand(['--version']);
    expect(end).toEqual({ exitCode: 0, stdout: `${version}\n`, stderr: '' });
  });
});
