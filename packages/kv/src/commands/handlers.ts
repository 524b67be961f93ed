/** Every command of the table with its handler, by opcode. */
import { assert } from '@raftseal/interface';
import { type CommandSpec, commandTable, OPCODE_LIMIT } from '../command-table.ts';
import { bitHandlers } from './bits.ts';
import { expiryHandlers } from './expiry.ts';
import type { Handler } from './handler.ts';
import { hashWalkHandlers } from './hash-walk.ts';
import { hashHandlers } from './hashes.ts';
import { keyHandlers } from './keys.ts';
import { lcsHandlers } from './lcs.ts';
import { setHandlers } from './set.ts';
import { stringHandlers } from './strings.ts';

export interface Command {
  readonly spec: CommandSpec;
  readonly handler: Handler;
}

const handlers: Readonly<Record<string, Handler>> = {
  ...setHandlers,
  ...stringHandlers,
  ...bitHandlers,
  ...lcsHandlers,
  ...keyHandlers,
  ...expiryHandlers,
  ...hashHandlers,
  ...hashWalkHandlers,
};

/** By opcode; undefined where none is given. */
export const commandsByOpcode: readonly (Command | undefined)[] = (() => {
  const commands: (Command | undefined)[] = Array.from({ length: OPCODE_LIMIT }, () => undefined);
  for (const spec of commandTable.values()) {
    const handler = handlers[spec.name];
    assert(handler !== undefined, `command ${spec.name} has no handler`);
    commands[spec.opcode] = { spec, handler };
  }
  return commands;
})();
