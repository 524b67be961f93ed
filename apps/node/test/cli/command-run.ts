/** Runs `raftseal` commands in this process, and takes down what they print and how they end. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { adminServer } from '../../src/admin/server.ts';
import { program } from '../../src/cli/program.ts';
import { reportFailure } from '../../src/cli/report-failure.ts';
import type { ListenerTls } from '../../src/config.ts';
import { OperationsDouble } from '../admin/operations-double.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

export interface CommandEnd {
  readonly exitCode: typeof process.exitCode;
  readonly stdout: string;
  readonly stderr: string;
}

/** As `main.ts` does it. */
export async function runCommand(args: readonly string[]): Promise<CommandEnd> {
  const before = process.exitCode;
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += String(text);
      return true;
    }),
  );
  try {
    process.exitCode = undefined;
    await program()
      .parseAsync(['node', 'raftseal', ...args])
      .catch(reportFailure);
    return { exitCode: process.exitCode ?? 0, ...written };
  } finally {
    process.exitCode = before;
    for (const spy of spies) spy.mockRestore();
  }
}

export interface ServedNode {
  readonly operations: OperationsDouble;
  /** The options that lead a command to the node. */
  readonly address: readonly string[];
  readonly run: (args: readonly string[]) => Promise<CommandEnd>;
}

/** An admin API over operations that a test controls. */
export async function servedNode(tls?: ListenerTls): Promise<ServedNode> {
  const token = 'correct-horse-battery-staple';
  const tokenPath = join(temporaryDirectory(), 'token');
  writeFileSync(tokenPath, `${token}\n`, { mode: 0o600 });
  const operations = new OperationsDouble();
  const server = await adminServer(
    { host: '127.0.0.1', port: 0, ...(tls === undefined ? {} : { tls }) },
    { operations, token, onInternalError: () => undefined },
  );
  onTestFinished(() => server.close());
  const scheme = tls === undefined ? 'http' : 'https';
  const address = ['--admin', `${scheme}://127.0.0.1:${server.port}`, '--token-file', tokenPath];
  return { operations, address, run: (args) => runCommand([...args, ...address]) };
}
