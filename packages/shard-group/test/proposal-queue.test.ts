import { RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { COMMAND_HEADER_BYTES, DATA_HEADER_BYTES, TAG_BYTES } from '../src/index.ts';
import { ProposalGate } from '../src/proposal-gate.ts';
import { type DataProposal, type Proposal, ProposalQueue } from '../src/proposal-queue.ts';

const BEFORE_COMMANDS = TAG_BYTES + DATA_HEADER_BYTES;
const limits = { batchBytesMax: 64, batchCommandsMax: 3, queueBytesMax: 200 };

function queueOf(options: Partial<typeof limits> = {}): ProposalQueue<string> {
  return new ProposalQueue({ ...limits, ...options });
}

function add(queue: ProposalQueue<string>, ...commands: string[]): boolean[] {
  return commands.map((command) => queue.add(Buffer.from(command), () => undefined));
}

/** The commands of each proposal, in order; a key-lifecycle entry as its body in brackets. */
function drain(queue: ProposalQueue<string>): string[][] {
  const taken: string[][] = [];
  for (let next = queue.take(); next; next = queue.take()) taken.push(contentOf(next));
  return taken;
}

function contentOf(proposal: Proposal<string>): string[] {
  const { buffer, length } = proposal;
  if (proposal.kind === 'key-lifecycle')
    return [`[${buffer.toString('utf8', TAG_BYTES + 1, length)}]`];
  const commands: string[] = [];
  for (let at = BEFORE_COMMANDS; at < length; ) {
    const end = at + COMMAND_HEADER_BYTES + buffer.readUInt32BE(at);
    commands.push(buffer.toString('utf8', at + COMMAND_HEADER_BYTES, end));
    at = end;
  }
  return commands;
}

function takeData(queue: ProposalQueue<string>): DataProposal<string> {
  const proposal = queue.take();
  if (proposal?.kind !== 'data') throw new Error('expected a data proposal');
  return proposal;
}

describe('the proposal queue', () => {
  it('gathers commands into one batch up to the number allowed', () => {
    const queue = queueOf();
    add(queue, 'a', 'b', 'c', 'd');
    expect(drain(queue)).toEqual([['a', 'b', 'c'], ['d']]);
    expect(queue.isEmpty).toBe(true);
  });

  it('gathers commands up to the bytes allowed, headers included', () => {
    const queue = queueOf({ batchCommandsMax: 100 });
    const room = limits.batchBytesMax - DATA_HEADER_BYTES - 2 * COMMAND_HEADER_BYTES;
    add(queue, 'x'.repeat(room - 1), 'y', 'z');
    expect(drain(queue).map(({ length }) => length)).toEqual([2, 1]);
  });

  it('lets a command above the size of a batch travel alone, in its place', () => {
    const queue = queueOf();
    const large = 'L'.repeat(100);
    add(queue, 'a', large, 'b', 'c');
    expect(drain(queue)).toEqual([['a'], [large], ['b', 'c']]);
  });

  it('keeps a key-lifecycle entry alone and in its place', () => {
    const queue = queueOf();
    add(queue, 'a');
    queue.addKeyLifecycle(Buffer.from('rotate'), () => undefined);
    add(queue, 'b', 'c');
    expect(drain(queue)).toEqual([['a'], ['[rotate]'], ['b', 'c']]);
  });

  it('is bounded in bytes, refuses what does not fit, and has room again once taken from', () => {
    const queue = queueOf({ queueBytesMax: 3 * (COMMAND_HEADER_BYTES + 1) });
    expect(add(queue, 'a', 'b', 'c', 'd')).toEqual([true, true, true, false]);
    expect(queue.bytes).toBe(15);
    expect(drain(queue)).toEqual([['a', 'b', 'c']]);
    expect(queue.bytes).toBe(0);
    expect(add(queue, 'd')).toEqual([true]);
  });

  it('takes a command above its bound while it is empty, and nothing beside it', () => {
    const queue = queueOf({ queueBytesMax: 10 });
    expect(add(queue, 'L'.repeat(20), 'a')).toEqual([true, false]);
    expect(queue.bytes).toBe(20 + COMMAND_HEADER_BYTES);
    queue.take();
    expect(add(queue, 'a')).toEqual([true]);
  });

  it('copies what it is given', () => {
    const queue = queueOf();
    const command = Buffer.from('mine');
    queue.add(command, () => undefined);
    command.fill(0);
    expect(drain(queue)).toEqual([['mine']]);
  });

  it('rejects everything that waits, each once, and is empty then', () => {
    const queue = queueOf();
    const seen: string[] = [];
    for (const name of ['a', 'b', 'c', 'd']) {
      queue.add(Buffer.from(name), (error) => seen.push(`${name} ${error?.code}`));
    }
    queue.addKeyLifecycle(Buffer.from('k'), (error) => seen.push(`k ${error?.code}`));
    queue.rejectAll(new RaftsealError('RAFTSEAL_SHARD_GROUP_STOPPED', 'stop'));
    const code = 'RAFTSEAL_SHARD_GROUP_STOPPED';
    expect(seen).toEqual(['a', 'b', 'c', 'd', 'k'].map((name) => `${name} ${code}`));
    expect([queue.isEmpty, queue.bytes, queue.take()]).toEqual([true, 0, undefined]);
  });

  it('uses a buffer again only once it was given back', () => {
    const queue = queueOf();
    add(queue, 'a');
    const first = takeData(queue);
    add(queue, 'b');
    const second = takeData(queue);
    expect(second.buffer).not.toBe(first.buffer);
    queue.release(first);
    add(queue, 'c');
    expect(takeData(queue).buffer).toBe(first.buffer);
  });

  it('keeps no buffer that was made for one large command', () => {
    const queue = queueOf();
    add(queue, 'L'.repeat(100));
    const large = takeData(queue);
    queue.release(large);
    add(queue, 'a');
    expect(takeData(queue).buffer).not.toBe(large.buffer);
  });
});

describe('the proposal gate', () => {
  it('is open until closed and says how long it was closed', () => {
    const gate = new ProposalGate();
    expect(gate.isOpen).toBe(true);
    gate.close();
    expect(gate.isOpen).toBe(false);
    expect(gate.open()).toBeGreaterThanOrEqual(0);
    expect(gate.isOpen).toBe(true);
  });

  it('HAZARD PROP-22: is neither closed twice nor opened twice', () => {
    const gate = new ProposalGate();
    expect(() => gate.open()).toThrow('a gate is opened after it was closed');
    gate.close();
    expect(() => gate.close()).toThrow('a gate is closed once');
  });
});
