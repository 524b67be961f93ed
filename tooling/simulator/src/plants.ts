/**
 * Faults of wiring, to show that the checks find what they lead to. The parts have no switches for
 * them: what a node, an engine or a disk is given is changed after it was put together. Each run has
 * a plant of its own.
 */
import type { PlantedFault } from '@raftseal/raft-engine-simulated';
import type { NodeKeys, NodeShard } from '@raftseal/server/composition';
import type { RaftPayloadWrap } from '@raftseal/shard-group';
import type { SidecarFileSystem } from '@raftseal/sidecar';
import type { NodeDisk } from './disk/node-disk.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface Plant {
  readonly engineFaults?: readonly PlantedFault[];
  readonly inKeys?: (keys: NodeKeys, nodeId: string) => void;
  readonly inShard?: (shard: NodeShard, nodeId: string) => void;
  readonly inFiles?: (
    files: SidecarFileSystem,
    disk: NodeDisk,
    clock: VirtualClock,
  ) => SidecarFileSystem;
  /** A process has ended by a crash. */
  readonly afterCrash?: (disk: NodeDisk, clock: VirtualClock) => void;
  /** An append of a node ended otherwise than done. */
  readonly onNotAppended?: (nodeId: string) => void;
}

export const plantNames = [
  'no-fence',
  'no-term',
  'no-installer',
  'no-gate',
  'loose-comparison',
  'late-sidecar',
  'nonce-given-back',
  'stale-reads',
] as const;

export type PlantName = (typeof plantNames)[number];

/** How long the sidecar of a late one is not on the disk yet. */
const LATE_MS = 60;

const makers: Readonly<Record<PlantName, () => Plant>> = {
  /** A leader believes that it has caught up, and an append lands at whatever index. */
  'no-fence': () => ({ engineFaults: ['misreportHead', 'ignoreExpectedIndex'] }),

  /** An append of a leader of the past lands. */
  'no-term': () => ({ engineFaults: ['ignoreTerm', 'ignoreExpectedIndex'] }),

  /** One node never seals. */
  'no-installer': () => ({
    inKeys: (keys, nodeId) => {
      if (nodeId === 'b') keys.installer.install = () => undefined;
    },
  }),

  /** The marker is proposed like any other entry, with others in flight behind it. */
  'no-gate': () => ({
    inShard: ({ group }) => {
      group.cutOver = async (marker) => void (await group.proposeKeyLifecycle(marker));
    },
  }),

  /** The marker itself counts as above the cutover. */
  'loose-comparison': () => ({
    inKeys: ({ installer }) => {
      const attach = installer.attach.bind(installer);
      const wrapOf = installer.wrapOf.bind(installer);
      installer.wrapOf = (shardId) => loosened(wrapOf(shardId));
      installer.attach = (group) => {
        const { shardId } = group;
        const setRaftPayloadWrap: typeof group.setRaftPayloadWrap = (wrap) =>
          group.setRaftPayloadWrap(loosened(wrap));
        attach({ shardId, setRaftPayloadWrap });
      };
    },
  }),

  /** The sidecar counts as written before it is: what follows it may be there without it. */
  'late-sidecar': lateSidecar,

  /** What was drawn for an append that was not done is drawn once more. */
  'nonce-given-back': nonceGivenBack,

  /** Whoever is asked answers, leader or not. */
  'stale-reads': () => ({
    inShard: (shard) => {
      shard.query = (args, nowMs) => shard.kv.query(args, nowMs);
    },
  }),
};

const loose = new WeakSet<RaftPayloadWrap>();

/** A wrap that has its cutover one index lower. */
function loosened(wrap: RaftPayloadWrap): RaftPayloadWrap {
  if (wrap.kind === 'cleartext' || wrap.cutoverIndex === 1n || loose.has(wrap)) return wrap;
  const lower = { ...wrap, cutoverIndex: wrap.cutoverIndex - 1n };
  loose.add(lower);
  return lower;
}

export function plantOf(name: PlantName | undefined): Plant | undefined {
  return name && makers[name]();
}

function lateSidecar(): Plant {
  const written = new Map<
    NodeDisk,
    { readonly atMs: number; readonly before: NodeDisk['files'] }
  >();
  return {
    inFiles: (files, disk, clock) => ({
      ...files,
      rename: async (from, to) => {
        const before = disk.files.copy();
        await files.rename(from, to);
        written.set(disk, { atMs: clock.nowMs, before });
      },
    }),
    afterCrash: (disk, clock) => {
      const last = written.get(disk);
      if (last && clock.nowMs - last.atMs < LATE_MS) disk.files.becomeAs(last.before);
    },
  };
}

function nonceGivenBack(): Plant {
  const givenBack = new Set<string>();
  return {
    onNotAppended: (nodeId) => givenBack.add(nodeId),
    inKeys: ({ ledger }, nodeId) => {
      const sequence = ledger.sequence.bind(ledger);
      ledger.sequence = (dekId, prefix) => {
        const drawn = sequence(dekId, prefix);
        const draw = drawn.draw.bind(drawn);
        let last: Uint8Array | undefined;
        drawn.draw = (target, offset, fromReserve) => {
          const again = givenBack.delete(nodeId) ? last : undefined;
          if (again) target.set(again, offset);
          else draw(target, offset, fromReserve);
          last = target.slice(offset, offset + 12);
        };
        return drawn;
      };
    },
  };
}
