/** Peer operations that note what they are asked for, and answer what a test gives them. */
import type { NonceEvidence } from '../../src/nonces/evidence.ts';
import type { NoncePart } from '../../src/nonces/nonce-record.ts';
import type {
  CapabilityChallenge,
  CapabilityProof,
  JoinReply,
  JoinRequest,
  NonceRecordStream,
  PeerIdentity,
  PeerOperations,
  PeerSnapshot,
  RegistrationRequest,
} from '../../src/peer/operations.ts';
import type { KeyNeeds } from '../../src/retirement/key-needs.ts';

export const someIdentity: PeerIdentity = {
  nodeId: 'node-1',
  formatVersion: 1,
  release: '1.2.3',
  clusterId: '00112233445566778899aabbccddeeff',
  shardCount: 4,
};

export const someJoin: JoinRequest = {
  identity: { ...someIdentity, nodeId: 'node-2', clusterId: null },
  role: 'learner',
  peer: { host: '10.0.0.2', port: 8379 },
};

export const someJoinReply: JoinReply = {
  clusterId: '00112233445566778899aabbccddeeff',
  shardCount: 4,
  members: ['node-1', 'node-2'],
};

export const someRegistration: RegistrationRequest = {
  nodeId: 'node-2',
  dekId: 4_294_967_295,
  epoch: 65_535,
  claimId: Uint8Array.from({ length: 16 }, (_, i) => 255 - i),
};

export const someChallenge: CapabilityChallenge = {
  binding: { clusterId: new Uint8Array(16).fill(9), dekId: 17, purpose: 'raft' },
  wraps: [
    { kekUri: 'file:/a', bytes: new Uint8Array(60).fill(250) },
    { kekUri: `vault:${'x'.repeat(2000)}`, bytes: new Uint8Array(70).fill(249) },
  ],
  nonce: new Uint8Array(32).fill(251),
};

export const someProof: CapabilityProof = {
  nodeId: 'node-1',
  formatVersion: 1,
  release: '1.2.3',
  mac: new Uint8Array(32).fill(252),
};

export const someNeeds: KeyNeeds = {
  nodeId: 'node-1',
  processId: '0b9c',
  dek: 'older',
  shards: [
    {
      shardId: 0,
      state: 'leading',
      seals: false,
      rows: 0,
      snapshots: 1,
      installing: false,
      installs: 2,
    },
    {
      shardId: 1,
      state: 'restoring',
      seals: true,
      rows: 7,
      snapshots: 0,
      installing: true,
      installs: 0,
    },
  ],
};

export const someEvidence: NonceEvidence = {
  nodeId: 'node-1',
  clusterId: '00112233445566778899aabbccddeeff',
  logPlace: 'etcd',
  isAuthenticated: true,
  writers: [{ writerId: 65_535, nodeId: 'node-1' }],
  keys: [{ dekId: 4_294_967_295, purpose: 'raft', isRetired: false, nonceEpoch: 3 }],
  rows: [{ dekId: 4_294_967_295, writerId: 65_535, firstEpoch: 1, lastEpoch: 3 }],
  drawn: [{ dekId: 4_294_967_295, nonceEpoch: 3, counter: 4_294_967_296 }],
};

export class PeerOperationsDouble implements PeerOperations {
  /** What every operation but `identity` fails with, if set. */
  failure: unknown;
  keyStateBytes: Uint8Array = Uint8Array.of(0, 255, 128, 10, 13);
  snapshotToSend: SnapshotDouble | undefined;
  /** Every call that could change or cost something. */
  readonly calls: (readonly [name: string, ...given: unknown[]])[] = [];

  identity(): PeerIdentity {
    this.calls.push(['identity']);
    return someIdentity;
  }

  async join(request: JoinRequest): Promise<JoinReply> {
    this.#note('join', request);
    return someJoinReply;
  }

  async recordRegistration(request: RegistrationRequest): Promise<void> {
    this.#note('recordRegistration', { ...request, claimId: Uint8Array.from(request.claimId) });
  }

  async proveCapability({ binding, ...rest }: CapabilityChallenge): Promise<CapabilityProof> {
    this.#note('proveCapability', {
      binding: { ...binding, clusterId: Uint8Array.from(binding.clusterId) },
      wraps: rest.wraps.map(({ kekUri, bytes }) => ({ kekUri, bytes: Uint8Array.from(bytes) })),
      nonce: Uint8Array.from(rest.nonce),
    });
    return someProof;
  }

  async keyState(): Promise<Uint8Array> {
    this.#note('keyState');
    return this.keyStateBytes;
  }

  async keyNeeds(dekId: number): Promise<KeyNeeds> {
    this.#note('keyNeeds', dekId);
    return someNeeds;
  }

  async turnOverLogs(): Promise<readonly number[]> {
    this.#note('turnOverLogs');
    return [0, 2];
  }

  async snapshot(shardId: number): Promise<PeerSnapshot> {
    this.#note('snapshot', shardId);
    this.snapshotToSend ??= new SnapshotDouble({ chunkCount: 3 });
    return this.snapshotToSend;
  }

  nonceRecords(part: NoncePart): NonceRecordStream {
    this.#note('nonceRecords', part);
    this.snapshotToSend ??= new SnapshotDouble({ chunkCount: 3 });
    const snapshot = this.snapshotToSend;
    return { chunks: snapshot.chunks, release: () => snapshot.release() };
  }

  async nonceEvidence(): Promise<NonceEvidence> {
    this.#note('nonceEvidence');
    return someEvidence;
  }

  #note(name: string, ...given: unknown[]): void {
    this.calls.push([name, ...given]);
    if (this.failure !== undefined) throw this.failure;
  }
}

export interface SnapshotScript {
  readonly chunkCount: number;
  readonly chunkBytes?: number;
  readonly header?: Uint8Array;
  /** Before the chunk of this number the source fails. */
  readonly failsAt?: number;
  /** Before the chunk of this number the source waits until it is released. */
  readonly stallsAt?: number;
}

/** A snapshot of known bytes, which counts the chunks that were asked for. */
export class SnapshotDouble implements PeerSnapshot {
  readonly header: Uint8Array;
  readonly released: Promise<void>;
  chunksMade = 0;
  releases = 0;
  readonly #script: SnapshotScript;
  #markReleased: () => void = () => undefined;

  constructor(script: SnapshotScript) {
    this.#script = script;
    this.header = script.header ?? Buffer.from('header of a snapshot');
    this.released = new Promise((resolve) => {
      this.#markReleased = resolve;
    });
  }

  get chunks(): AsyncIterable<Uint8Array> {
    return this.#make();
  }

  /** What the receiver should end up with. */
  get bytes(): Buffer {
    const { chunkCount } = this.#script;
    return Buffer.concat(Array.from({ length: chunkCount }, (_, i) => this.#chunk(i)));
  }

  release(): void {
    this.releases++;
    this.#markReleased();
  }

  async *#make(): AsyncGenerator<Uint8Array> {
    const { chunkCount, failsAt, stallsAt } = this.#script;
    for (let i = 0; i < chunkCount; i++) {
      if (i === failsAt) throw new Error('the disk is gone');
      if (i === stallsAt) await this.released;
      if (this.releases > 0) return;
      this.chunksMade++;
      yield this.#chunk(i);
    }
  }

  #chunk(i: number): Buffer {
    return Buffer.alloc(this.#script.chunkBytes ?? 1024, i);
  }
}
