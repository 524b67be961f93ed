/**
 * The rigs in their smallest form, as they are run by hand: some faults of each kind, and for each a
 * planted bug that has to be caught.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);

/** @returns the lines of the table: name of the scenario, and what stands after it */
async function tableOf(rig: string, ...args: readonly string[]): Promise<Map<string, string>> {
  const program = fileURLToPath(new URL(`../dist/${rig}/main.js`, import.meta.url));
  const { stdout } = await run(process.execPath, [program, ...args]);
  const lines = stdout.slice(stdout.indexOf('scenario ')).split('\n');
  return new Map(lines.map((line) => [line.split(/ {2,}/)[0] ?? '', line]));
}

describe('the rig of power cuts', () => {
  it('invariant 2: loses nothing acknowledged, and catches a log that is not flushed', async () => {
    const args = ['--cuts', '3', '--fs', 'ext4', '--only', 'log'];
    const table = await tableOf('power', ...args);
    expect(table.get('log on ext4')).toMatch(/ 3 {2,}0 .* 0 +\d/);
    expect(table.get('log on ext4: unflushed')).toContain('caught');
  });

  it('invariant 2: loses nothing acknowledged to kill -9', async () => {
    const table = await tableOf('power', '--cuts', '3', '--only', 'log', '--kill');
    expect(table.get('log, kill -9')).toMatch(/ 3 {2,}0 .*kill 3 +0/);
    expect(table.get('log, kill -9: early')).toContain('caught');
  });
});
