/**
 * Finds commands by name. Names come in any case; the two usual spellings are found without making
 * a new string.
 */
import type { ByteString } from '@raftseal/interface';
import type { Command } from './command.ts';

export class CommandRegistry {
  /** In the order of the names. */
  readonly all: readonly Command[];
  readonly #bySpelling = new Map<string, Command>();

  constructor(commands: Iterable<Command>) {
    this.all = [...commands].sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const command of this.all) {
      if (this.#bySpelling.has(command.name)) throw new Error(`two commands named ${command.name}`);
      this.#bySpelling.set(command.name, command);
      this.#bySpelling.set(command.name.toUpperCase(), command);
    }
  }

  find(name: ByteString | undefined): Command | undefined {
    if (name === undefined) return undefined;
    return this.#bySpelling.get(name) ?? this.#bySpelling.get(name.toLowerCase());
  }

  /** The command that a request names, a subcommand where the command has some. */
  resolve(args: readonly ByteString[]): Command | undefined {
    const command = this.find(args[0]);
    if (command?.kind !== 'server' || command.subcommands === undefined) return command;
    return args[1] === undefined ? command : command.subcommands.get(args[1].toLowerCase());
  }
}
