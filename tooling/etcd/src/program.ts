/** Runs a program to its end, within a time, and says how to get one that is not there. */
import { execFile } from 'node:child_process';

const packages: Readonly<Record<string, string>> = {
  etcd: 'etcd-server',
  etcdctl: 'etcd-client',
  openssl: 'openssl',
};

export interface RunOptions {
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** What it wrote to its standard output. */
export function run(
  command: string,
  args: readonly string[],
  { cwd, environment, timeoutMs = 20_000 }: RunOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      cwd,
      env: { ...process.env, ...environment },
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: 64 * 1024 * 1024,
    } as const;
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (error.code === 'ENOENT') reject(missing(command));
      else reject(new Error(`${command} ${args[0]} failed: ${stderr || error.message}`));
    });
  });
}

export function missing(command: string): Error {
  return new Error(
    `expected ${command} on PATH and did not find it; on Debian or Ubuntu: ` +
      `apt-get install --no-install-recommends ${packages[command] ?? command}`,
  );
}
