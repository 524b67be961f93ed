/** Loaded before a node: whatever it opens for flushed writes is opened for plain ones. A planted bug. */
import fs from 'node:fs';

/** As any name of a function: its arguments are passed on. */
const name: string = 'open';
const open: (...args: unknown[]) => unknown = Reflect.get(fs, name);

Reflect.set(fs, name, (path: unknown, flags: unknown, ...rest: unknown[]) => {
  const plain = typeof flags === 'number' ? flags & ~fs.constants.O_DSYNC : flags;
  return open(path, plain, ...rest);
});
