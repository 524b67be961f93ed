/** Starts a run in a process of its own, and ends everything of it when it is over or takes long. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { spawnInSandbox } from '../world/sandbox.ts';

export interface IsolatedRun {
  /** Of the program that gets the options as JSON, and whose only line of output is the result. */
  readonly program: URL;
  readonly options: object;
  readonly isInSandbox: boolean;
  /** Several times what a run takes: only a hang is ended. */
  readonly timeoutMs: number;
}

export async function isolatedRun<Result>(run: IsolatedRun): Promise<Result> {
  const program = fileURLToPath(run.program);
  const command = [process.execPath, program, JSON.stringify(run.options)] as const;
  const child: ChildProcess = run.isInSandbox
    ? spawnInSandbox(command)
    : spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  const end = (): boolean => child.kill('SIGKILL');
  process.once('exit', end);
  const late = setTimeout(end, run.timeoutMs);
  const [output, errors] = [gather(child.stdout), gather(child.stderr)];
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    const line = output.join('').trim();
    if (code === 0 && line !== '') return JSON.parse(line) as Result;
    const how = signal ?? `exit code ${code}`;
    throw new Error(`the process of the run ended with ${how}: ${errors.join('').slice(-2_000)}`);
  } finally {
    clearTimeout(late);
    process.off('exit', end);
  }
}

function gather(stream: ChildProcess['stdout']): readonly string[] {
  const chunks: string[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
  return chunks;
}
