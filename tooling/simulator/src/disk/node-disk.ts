/** Everything of a node that outlives its processes. */
import { SimulatedFiles } from './simulated-files.ts';
import { RegistryDisk } from './simulated-registry.ts';
import { StoreDisk } from './simulated-store.ts';

export class NodeDisk {
  readonly files: SimulatedFiles;
  readonly registry: RegistryDisk;
  readonly stores: readonly StoreDisk[];
  /** By shard: the key-lifecycle entries of which the node has kept a record. */
  recorded: ReadonlyMap<number, readonly bigint[]>;
  /** By shard: at least so far its store goes. */
  durableIndexes: readonly bigint[];

  constructor(
    parts: Pick<NodeDisk, 'files' | 'registry' | 'stores' | 'recorded' | 'durableIndexes'>,
  ) {
    this.files = parts.files;
    this.registry = parts.registry;
    this.stores = parts.stores;
    this.recorded = parts.recorded;
    this.durableIndexes = parts.durableIndexes;
  }

  static empty(shardCount: number): NodeDisk {
    const shards = Array.from({ length: shardCount }, (_, shardId) => shardId);
    return new NodeDisk({
      files: new SimulatedFiles(),
      registry: new RegistryDisk(),
      stores: shards.map(() => new StoreDisk()),
      recorded: new Map(),
      durableIndexes: shards.map(() => 0n),
    });
  }

  /** As of now; taken while no process writes to it, or as a snapshot of the whole disk would be. */
  copy(): NodeDisk {
    const { recorded, durableIndexes } = this;
    return new NodeDisk({
      files: this.files.copy(),
      registry: this.registry.copy(),
      stores: this.stores.map((store) => store.copy()),
      recorded,
      durableIndexes,
    });
  }

  /** This disk, with the folder of the keys as another copy has it. */
  withKeysOf(other: NodeDisk): NodeDisk {
    const { recorded, durableIndexes, stores } = this;
    const { files, registry } = other.copy();
    return new NodeDisk({ files, registry, stores, recorded, durableIndexes });
  }
}
