/** The language-neutral vectors of ../vectors, as their descriptions there define them. */
import { readFileSync } from 'node:fs';
import type { KeyPurpose } from '@raftseal/interface';

export interface Dek {
  readonly dekId: number;
  readonly purpose: KeyPurpose;
  readonly dek: string;
}

/** What the four layers bind; each file has the fields of its layer. */
export interface Place {
  readonly clusterId?: string;
  readonly shardId: number;
  readonly index: string;
  readonly header: string;
  readonly rowKey: string;
  readonly encodedKey: string;
}

export interface SealVector extends Place {
  readonly name: string;
  readonly dekId: number;
  readonly writerId: number;
  readonly nonceEpoch: number;
  readonly counter: string;
  readonly plaintext: string;
  readonly nonce: string;
  readonly aad: string;
  readonly envelope: string;
}

export interface RefuseVector extends Place {
  readonly name: string;
  readonly envelope: string;
  readonly code: string;
}

export interface LayerVectors {
  readonly deks: readonly Dek[];
  readonly clusterId?: string;
  readonly seal: readonly SealVector[];
  readonly refuse: readonly RefuseVector[];
}

export interface NonceVectors {
  readonly exhaustedCode: string;
  readonly nonces: readonly {
    readonly writerId: number;
    readonly nonceEpoch: number;
    readonly counter: string;
    readonly nonce: string;
  }[];
}

export interface RowKeyVectors {
  readonly label: string;
  readonly dek: string;
  readonly macKey: string;
  readonly rows: readonly {
    readonly shardId: number;
    readonly key: string;
    readonly rowKey: string;
  }[];
}

export interface ClusterKeysVectors {
  readonly rowKeyLabel: string;
  readonly certificateKeyLabel: string;
  readonly firstDek: string;
  readonly rowNameKey: string;
  readonly certificateSeed: string;
  readonly seal: readonly {
    readonly name: string;
    readonly clusterId: string;
    readonly dekId: number;
    readonly dek: string;
    readonly sealed: string;
  }[];
}

export interface PrimitiveVectors {
  readonly aes256gcm: readonly {
    readonly name: string;
    readonly key: string;
    readonly iv: string;
    readonly aad: string;
    readonly plaintext: string;
    readonly ciphertext: string;
    readonly tag: string;
  }[];
  readonly hmacSha256: readonly {
    readonly name: string;
    readonly key: string;
    readonly message: string;
    readonly mac: string;
  }[];
  readonly hkdfSha256: readonly {
    readonly name: string;
    readonly key: string;
    readonly label: string;
    readonly bytes: number;
    readonly derived: string;
  }[];
}

interface Files {
  readonly 'raft-v1': LayerVectors;
  readonly 'raft-v2': LayerVectors;
  readonly 'storage-v1': LayerVectors;
  readonly 'storage-v2': LayerVectors;
  readonly nonce: NonceVectors;
  readonly 'row-key': RowKeyVectors;
  readonly 'cluster-keys': ClusterKeysVectors;
  readonly primitives: PrimitiveVectors;
}

export function readVectors<Name extends keyof Files>(name: Name): Files[Name] {
  return JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8'));
}

/** A plain Uint8Array, not a Buffer: what a caller outside Node passes. */
export function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

export function hex(value: Uint8Array): string {
  return Buffer.from(value).toString('hex');
}
