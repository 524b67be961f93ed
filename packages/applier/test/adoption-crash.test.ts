/**
 * A process ends between any two effects of an adoption. The next one reads the disk, passes the
 * checks of a start, adopts again, and has to arrive where a process arrives that never ended.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  checkNonceEpochs,
  checkRegistry,
  type KeyLifecycleEntry,
  openReplicatedKeyState,
  type ReplicatedKeyState,
  unwrapWith,
} from '../src/index.ts';
import {
  bootstrapEntry,
  crashPoints,
  cutoverRequest,
  Disk,
  describeRow,
  enableStorage,
  kek,
  localState,
  marker,
  Process,
  registration,
  registrationOf,
  rotation,
} from './world.ts';

type Placed = readonly [shardId: number, index: bigint, entry: KeyLifecycleEntry];

let life: readonly Placed[];
let replicated: ReplicatedKeyState;

beforeAll(async () => {
  life = [
    [0, 1n, await bootstrapEntry()],
    [0, 2n, registration('a', 2, 4)],
    [0, 3n, enableStorage(1)],
    [0, 4n, await rotation(4, 'storage')],
    [0, 5n, cutoverRequest(2, 7)],
    [7, 30n, marker(2, 5n)],
    [0, 6n, await rotation(5, 'raft')],
    [0, 7n, registration('a', 2, 6)],
    [0, 8n, registration('b', 5, 3)],
    [0, 9n, await rotation(8, 'index')],
  ];
  const peer = await live(new Disk(), 'b', life);
  const bytes = await peer.lifecycle.exportKeyState();
  replicated = await openReplicatedKeyState(bytes ?? Buffer.alloc(0), unwrapWith([kek]));
});

async function live(disk: Disk, nodeId: string, entries: readonly Placed[]): Promise<Process> {
  const process = await Process.start(disk, { nodeId });
  for (const [shardId, index, entry] of entries) await process.apply(shardId, index, entry);
  return process;
}

interface Situation {
  readonly what: string;
  readonly nodeId: string;
  readonly disk: () => Promise<Disk>;
  /** How many of the crash points are passed. */
  readonly points: number;
}

const situations: readonly Situation[] = [
  {
    what: 'a node that joins',
    nodeId: 'd',
    disk: async () => new Disk(),
    points: 8,
  },
  {
    what: 'a follower that fell behind',
    nodeId: 'a',
    disk: async () => {
      const disk = new Disk();
      const process = await live(disk, 'a', life.slice(0, 2));
      await process.lifecycle.claimNonceEpoch(2);
      await (await Process.start(disk)).lifecycle.claimNonceEpoch(2);
      return disk;
    },
    points: 8,
  },
  {
    what: 'a node whose data directory was restored from an older copy',
    nodeId: 'a',
    disk: async () => {
      const disk = new Disk();
      await live(disk, 'a', life.slice(0, 2));
      return disk;
    },
    points: 8,
  },
  {
    what: 'a node that lost its sidecar and kept its registry',
    nodeId: 'a',
    disk: async () => {
      const disk = new Disk();
      await live(disk, 'a', [...life, [0, 10n, registration('a', 5, 8)]]);
      disk.sidecar = undefined;
      return disk;
    },
    points: 6,
  },
  {
    what: 'a node that lost both',
    nodeId: 'a',
    disk: async () => new Disk(),
    points: 8,
  },
];

interface End {
  readonly state: unknown;
  readonly rows: readonly string[];
  readonly installed: unknown;
  readonly keys: readonly number[];
}

function endOf(process: Process): End {
  return {
    state: localState(process.state),
    rows: process.registry.rows().map(describeRow).sort(),
    installed: process.installed,
    keys: process.keyring.ids(),
  };
}

/** The process starts as a node does: a registry above the sidecar would keep it from starting. */
async function start(disk: Disk, nodeId: string): Promise<Process> {
  const process = await Process.start(disk, { nodeId });
  checkRegistry(process.state, process.registry);
  checkNonceEpochs(process.state, process.registry);
  return process;
}

describe.each(situations)('an adoption by $what', ({ nodeId, disk: makeDisk, points }) => {
  let expected: End;

  beforeAll(async () => {
    const process = await start(await makeDisk(), nodeId);
    await process.lifecycle.adopt(replicated);
    expected = endOf(process);
  });

  it('HAZARD SC-19: converges wherever it is interrupted', async () => {
    let passed = 0;
    for (const point of crashPoints) {
      const disk = await makeDisk();
      const process = await start(disk, nodeId);
      process.crashAt = point;
      const ended = await process.lifecycle.adopt(replicated).then(
        () => false,
        () => true,
      );
      if (!ended) continue;
      passed += 1;
      const next = await start(disk, nodeId);
      await next.lifecycle.adopt(replicated);
      expect(endOf(next), point).toEqual(expected);
    }
    expect(passed).toBe(points);
  });

  it('HAZARD AREG-17: lets the log above it be applied', async () => {
    const process = await start(await makeDisk(), nodeId);
    await process.lifecycle.adopt(replicated);
    const later: readonly Placed[] = [
      [0, 10n, registration('a', 5, 7)],
      [0, 11n, registration('a', 5, 8)],
      [0, 12n, await rotation(6, 'storage')],
    ];
    for (const placed of [...life, ...later]) await process.apply(...placed);
    expect(process.registry.row(5, 1)).toMatchObject({ lastEpoch: 8 });
    expect(process.state.activeDekId).toEqual({ storage: 6, raft: 5, index: 8 });
  });

  it('invariant 3: gives the next claim an epoch above every one that is registered', async () => {
    const process = await start(await makeDisk(), nodeId);
    await process.lifecycle.adopt(replicated);
    if (nodeId === 'd') await process.apply(0, 10n, registration('d', 2, 1));
    const writerId = nodeId === 'd' ? 3 : 1;
    const before = process.registry.row(2, writerId)?.lastEpoch ?? 0;
    const claim = await process.lifecycle.claimNonceEpoch(2);
    expect(claim.writerId).toBe(writerId);
    expect(claim.nonceEpoch).toBeGreaterThan(before);
    await process.apply(0, 11n, registrationOf(nodeId, 2, claim));
    expect(process.lifecycle.isRegistered(2)).toBe(true);
  });
});
