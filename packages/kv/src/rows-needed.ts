/**
 * The rows that a log command needs when it is applied. A row that does not open ends the shard
 * there, so whoever leads looks at them before it proposes: a client then gets an error for what is
 * wrong with a disk.
 *
 * Invariant: no command reads a row in apply that is not named here. More may be named than it
 * comes to read, since what it reads can depend on the commands before it.
 */
import type { ByteString } from '@raftseal/interface';
import { CommandReader, EXPIRY, malformed, TRANSACTION } from './command-codec.ts';
import type { CommandSpec } from './command-table.ts';
import { commandsByOpcode } from './commands/handlers.ts';

type Visit = (key: ByteString) => void;

/** Options of SET that make it look at what the key holds. */
const looks = new Set(['NX', 'XX', 'GET', 'KEEPTTL']);

/**
 * Tells `visit` of each key whose row is needed.
 * @throws RAFTSEAL_KV_COMMAND_MALFORMED (fatal) for what is no command; what `visit` throws
 */
export function visitRowsNeeded(command: Buffer, visit: Visit): void {
  const reader = new CommandReader(command, 0, command.length);
  const opcode = reader.opcode();
  if (opcode === TRANSACTION) {
    for (let left = reader.count(); left > 0; left--) {
      visit(reader.bytes());
      reader.u64();
    }
    for (let left = reader.count(); left > 0; left--) {
      const nested = reader.nested();
      visitPlain(nested.opcode(), nested, visit);
    }
  } else if (opcode === EXPIRY) {
    for (let left = reader.count(); left > 0; left--) {
      reader.u64();
      visit(reader.bytes());
    }
  } else {
    visitPlain(opcode, reader, visit);
  }
}

function visitPlain(opcode: number, reader: CommandReader, visit: Visit): void {
  const spec = commandsByOpcode[opcode]?.spec;
  if (spec === undefined) throw malformed();
  const count = reader.count();
  const last = lastNeeded(spec, count, reader);
  for (let position = 1; position <= last; position++) {
    const isKey = position >= spec.firstKey && (position - spec.firstKey) % spec.keyStep === 0;
    if (isKey) visit(reader.bytes());
    else reader.skip();
  }
}

/** The position of the last key whose row is needed; 0 where none is. */
function lastNeeded(spec: CommandSpec, count: number, reader: CommandReader): number {
  if (spec.firstKey === 0) return 0;
  const last = Math.min(count, spec.lastKey < 0 ? count + 1 + spec.lastKey : spec.lastKey);
  switch (spec.name) {
    case 'set':
      return count > 2 && hasOption(reader, count, (word) => looks.has(word)) ? last : 0;
    case 'setex':
    case 'psetex':
    case 'mset':
      return 0;
    case 'rename':
      return Math.min(count, 1);
    case 'copy':
      return count > 2 && hasOption(reader, count, (word) => word === 'REPLACE')
        ? Math.min(count, 1)
        : last;
    default:
      return last;
  }
}

/** Whether one of the arguments behind the second is such an option; the reader stays. */
function hasOption(
  reader: CommandReader,
  count: number,
  isOption: (word: string) => boolean,
): boolean {
  const ahead = reader.fork();
  for (let position = 1; position <= count; position++) {
    if (position <= 2) ahead.skip();
    else if (isOption(ahead.bytes().toUpperCase())) return true;
  }
  return false;
}
