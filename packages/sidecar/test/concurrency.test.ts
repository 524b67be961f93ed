/** Many calls at once on one object, under every order in which its file operations may end. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SidecarFile } from '../src/index.ts';
import { mac, sampleState } from './key-states.ts';
import { inPieces, stepped, systemError } from './stepped-file-system.ts';
import { VolatileDisk } from './volatile-disk.ts';

type Call = { readonly kind: 'write'; readonly generation: number } | { readonly kind: 'read' };

const calls: fc.Arbitrary<Call[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('write' as const), generation: fc.integer({ min: 1, max: 8 }) }),
    fc.constant({ kind: 'read' as const }),
  ),
  { maxLength: 12 },
);

/** What one call after another would give. */
function expectedOf(sequence: readonly Call[], fails: (write: number) => boolean): string[] {
  let latest = 0;
  let attempts = 0;
  return sequence.map((call) => {
    if (call.kind === 'read') return `read ${latest}`;
    if (call.generation <= latest) return 'RAFTSEAL_SIDECAR_REGRESSION';
    attempts += 1;
    if (fails(attempts)) return 'RAFTSEAL_SIDECAR_WRITE_FAILED';
    latest = call.generation;
    return `wrote ${latest}`;
  });
}

async function resultOf(sidecar: SidecarFile, call: Call): Promise<string> {
  try {
    if (call.kind === 'write') {
      await sidecar.write(sampleState({ generation: BigInt(call.generation) }), mac);
      return `wrote ${call.generation}`;
    }
    const found = await sidecar.read();
    return `read ${found?.verify(mac.macKey).generation ?? 0}`;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe('SidecarFile under concurrent calls', () => {
  it('HAZARD SC-19 and TSH-05: does what the calls one after another would do', async () => {
    await fc.assert(
      fc.asyncProperty(calls, fc.scheduler(), async (sequence, scheduler) => {
        const disk = inPieces(new VolatileDiskRecord(), 500);
        const fileSystem = stepped(disk, ({ name }) => scheduler.schedule(Promise.resolve(), name));
        const sidecar = new SidecarFile({ directory: '/data', fileSystem });
        const results = Promise.all(sequence.map((call) => resultOf(sidecar, call)));
        expect(await scheduler.waitFor(results)).toEqual(expectedOf(sequence, () => false));
      }),
      { numRuns: 150 },
    );
  });

  it('goes on after writes that fail', async () => {
    const failing = fc.uniqueArray(fc.integer({ min: 1, max: 12 }));
    await fc.assert(
      fc.asyncProperty(calls, failing, async (sequence, failures) => {
        let attempts = 0;
        const fileSystem = stepped(new VolatileDiskRecord(), ({ name }) => {
          if (name === 'create') attempts += 1;
          if (name === 'rename' && failures.includes(attempts)) throw systemError('EIO');
        });
        const sidecar = new SidecarFile({ directory: '/data', fileSystem });
        const results = await Promise.all(sequence.map((call) => resultOf(sidecar, call)));
        expect(results).toEqual(expectedOf(sequence, (write) => failures.includes(write)));
      }),
      { numRuns: 150 },
    );
  });
});

/** The disk, refusing that two files are open for writing at once. */
class VolatileDiskRecord extends VolatileDisk {
  #writing = false;

  override async create(path: string): ReturnType<VolatileDisk['create']> {
    expect(this.#writing, 'two writes at once').toBe(false);
    this.#writing = true;
    const handle = await super.create(path);
    return {
      ...handle,
      close: async () => {
        this.#writing = false;
        await handle.close();
      },
    };
  }
}
