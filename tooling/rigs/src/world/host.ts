/** A machine of a world: this one, or a network namespace that stands for one. */

export type CommandLine = readonly [program: string, ...args: string[]];

export interface Host {
  readonly name: string;
  /** The address that the other hosts reach it by. */
  readonly address: string;
  /** The command line that runs a program on this host. */
  on(command: CommandLine): CommandLine;
}

export function loopbackHost(name: string): Host {
  return { name, address: '127.0.0.1', on: (command) => command };
}
