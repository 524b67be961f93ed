/** The writer registry of a node on a simulated disk: each write is one transaction. */
import type { WriterRow } from '@raftseal/interface';
import type { WriterRegistryStore } from '@raftseal/server/composition';
import type { Life } from './life.ts';

/** What is on the disk. */
export class RegistryDisk {
  rows: ReadonlyMap<string, WriterRow> = new Map();
  sealCounts: ReadonlyMap<number, bigint> = new Map();

  copy(): RegistryDisk {
    const { rows, sealCounts } = this;
    return Object.assign(new RegistryDisk(), { rows, sealCounts });
  }

  /** For one process. */
  open(life: Life): WriterRegistryStore {
    // What the process knows: a transaction counts for it once it was answered.
    let known = this.rows;
    const putCounts = (counts: ReadonlyMap<number, bigint>): void => {
      this.sealCounts = new Map([...this.sealCounts, ...counts]);
    };
    return {
      rows: () => [...known.values()],
      row: (dekId, writerId) => known.get(nameOf({ dekId, writerId })),
      put: async (rows) => {
        const added = rows.map((row) => [nameOf(row), row] as const);
        await life.transaction(() => {
          this.rows = new Map([...this.rows, ...added]);
        });
        known = this.rows;
      },
      forget: async (dekIds) => {
        await life.transaction(() => {
          const kept = [...this.rows].filter(([, { dekId }]) => !dekIds.includes(dekId));
          this.rows = new Map(kept);
          const counts = [...this.sealCounts].filter(([dekId]) => !dekIds.includes(dekId));
          this.sealCounts = new Map(counts);
        });
        known = this.rows;
      },
      sealCounts: this.sealCounts,
      putSealCounts: (counts) => life.transaction(() => putCounts(counts)),
      putSealCountsNow: (counts) => {
        if (!life.isOver) putCounts(counts);
      },
      close: async () => undefined,
    };
  }
}

function nameOf({ dekId, writerId }: Pick<WriterRow, 'dekId' | 'writerId'>): string {
  return `${dekId} ${writerId}`;
}
