/** A rig in its smallest form, as it is run by hand, and the planted bugs that it has to catch. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);

describe('the rig of power cuts', () => {
  it('invariant 5: finds a sidecar whole, and catches one that is not flushed', async () => {
    const program = fileURLToPath(new URL('../dist/power/main.js', import.meta.url));
    const args = ['--cuts', '2', '--fs', 'ext4', '--only', 'sidecar'];
    const { stdout } = await run(process.execPath, [program, ...args]);
    const table = stdout.slice(stdout.indexOf('scenario ')).split('\n').map(cellsOf);
    const [runs, voids, , violations] =
      table.find(([name]) => name === 'sidecar on ext4')?.slice(1) ?? [];
    expect({ runs, voids, violations }).toEqual({ runs: '2', voids: '0', violations: '0' });
    const caught = table.filter(([, , , , , canary]) => canary === 'caught').map(([name]) => name);
    expect(caught).toEqual(
      ['no-file-flush', 'no-directory-flush', 'early'].map((bug) => `sidecar on ext4: ${bug}`),
    );
  });
});

function cellsOf(line: string): string[] {
  return line.split(/ {2,}/);
}
