/** What strace writes down of a program, and where in it a fault can be. */

/** One system call on one path: a fault can be at its first, second, third ... time. */
export interface CallSite {
  readonly call: string;
  /** From the directory on: empty for the directory itself. */
  readonly path: string;
  /** How often it was made in a run without a fault, by the thread that made it most often. */
  readonly times: number;
}

/** A call whose start is written down: `<thread> <call>(<arguments>`. */
const CALL = /^(\d+) +([a-z_0-9]+)\((.*)$/;
/** Parts of names that are drawn at random: no other run has them. */
const RANDOM_NAME = /[0-9a-f]{12,}\b(?!\.seg)/;

/** @param directory absolute; calls on it, and on what is in it, are taken */
export function callSites(trace: string, directory: string): CallSite[] {
  const counts = new Map<string, Map<string, number>>();
  for (const line of trace.split('\n')) {
    const [, thread = '', call = '', rest = ''] = CALL.exec(line) ?? [];
    const path = call === 'execve' ? undefined : pathIn(rest, directory);
    if (path === undefined || RANDOM_NAME.test(path)) continue;
    const site = `${call} ${path}`;
    const byThread = counts.get(site) ?? new Map<string, number>();
    byThread.set(thread, (byThread.get(thread) ?? 0) + 1);
    counts.set(site, byThread);
  }
  return [...counts].map(([site, byThread]) => {
    const [call = '', ...path] = site.split(' ');
    return { call, path: path.join(' '), times: Math.max(...byThread.values()) };
  });
}

/** Of the first path in the arguments of a call that is the directory, or in it, the part within. */
function pathIn(args: string, directory: string): string | undefined {
  const at = args.indexOf(directory);
  if (at < 0) return undefined;
  const path = /^[^"<>\\]*/.exec(args.slice(at))?.[0] ?? '';
  const within = path.slice(directory.length);
  return within === '' || within.startsWith('/') ? within : undefined;
}

/** Where a call puts bytes, or names, on the device, so that its failure may not be passed over. */
export function isFlush(call: string): boolean {
  return ['fsync', 'fdatasync', 'sync_file_range', 'msync', 'pwritev'].includes(call);
}

/** Whether a program acknowledged anything after a fault was injected. */
export function acknowledgedAfterFault(trace: string): boolean {
  const at = trace.indexOf('(INJECTED)');
  return at >= 0 && /write\(1[^)]*"acknowledged /.test(trace.slice(at));
}
