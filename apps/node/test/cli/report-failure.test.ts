import { fatalError, RaftsealError } from '@raftseal/interface';
import { CommanderError } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { reportFailure } from '../../src/cli/report-failure.ts';

describe('a command that fails', () => {
  let before: typeof process.exitCode;
  let stderr = '';

  beforeEach(() => {
    before = process.exitCode;
    stderr = '';
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      stderr += String(text);
      return true;
    });
  });

  afterEach(() => {
    vi.restoreAllMocks();
    process.exitCode = before;
  });

  function reported(error: unknown): { exitCode: unknown; stderr: string } {
    stderr = '';
    process.exitCode = undefined;
    reportFailure(error);
    return { exitCode: process.exitCode, stderr };
  }

  it('says its code and message on one line, and exits with 1', () => {
    for (const error of [
      new RaftsealError('RAFTSEAL_NODE_PORT', 'no port', { cause: new Error('inner') }),
      fatalError('RAFTSEAL_NODE_PORT', 'no port'),
    ]) {
      const expected = 'raftseal: RAFTSEAL_NODE_PORT: no port\n';
      expect(reported(error)).toEqual({ exitCode: 1, stderr: expected });
    }
  });

  it('exits with 2 where an option was wrong', () => {
    const error = new RaftsealError('RAFTSEAL_NODE_OPTION', '--shards: expected more');
    const expected = 'raftseal: RAFTSEAL_NODE_OPTION: --shards: expected more\n';
    expect(reported(error)).toEqual({ exitCode: 2, stderr: expected });
  });

  it('adds nothing to what the parser of the command line has printed', () => {
    const usage = new CommanderError(1, 'commander.unknownOption', 'error: unknown option');
    expect(reported(usage)).toEqual({ exitCode: 2, stderr: '' });
    const help = new CommanderError(0, 'commander.helpDisplayed', '(outputHelp)');
    expect(reported(help)).toEqual({ exitCode: 0, stderr: '' });
  });

  it('says where it happened for what nobody foresaw', () => {
    const error = Object.assign(new TypeError('odd'), { code: 'ODD' });
    const end = reported(error);
    expect(end.exitCode).toBe(1);
    expect(end.stderr).toMatch(/^raftseal: ODD: odd\nTypeError: odd\n {4}at /);
    expect(reported('text')).toEqual({ exitCode: 1, stderr: 'raftseal: text\n' });
    expect(reported(undefined)).toEqual({ exitCode: 1, stderr: 'raftseal: undefined\n' });
  });
});
