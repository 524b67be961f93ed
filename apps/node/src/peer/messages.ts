/**
 * What peers say to each other, in JSON. Bytes are base64, ids of clusters hex; whatever is read is
 * checked, and fields that are not known are ignored.
 */
import {
  CLUSTER_ID_BYTES,
  type KeyPurpose,
  NONCE_EPOCH_MAX,
  purposeByte,
} from '@raftseal/interface';
import type { Address } from '../config.ts';
import { type KeyNeeds, needOfDek } from '../retirement/key-needs.ts';
import type { Fields } from './fields.ts';
import type {
  CapabilityChallenge,
  CapabilityProof,
  JoinReply,
  JoinRequest,
  PeerIdentity,
  RegistrationRequest,
} from './operations.ts';

const CLAIM_ID_BYTES = 16;
const NONCE_BYTES = 32;
const MAC_BYTES = 32;
const MEMBERS_MAX = 1024;
const SHARDS_MAX = 1024;
const WRAPS_MAX = 16;
const KEK_URI_CHARACTERS_MAX = 2048;

const u32 = { min: 1, max: 0xffff_ffff };
const shardIds = { min: 0, max: SHARDS_MAX - 1 };
const counts = { min: 0, max: Number.MAX_SAFE_INTEGER };
const exactly = (length: number) => ({ min: length, max: length });
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

export function readIdentity(fields: Fields): PeerIdentity {
  return {
    nodeId: fields.text('nodeId'),
    formatVersion: fields.integer('formatVersion', u32),
    release: fields.text('release'),
    clusterId: fields.hexOrNull('clusterId', CLUSTER_ID_BYTES),
    shardCount: fields.integer('shardCount', { min: 1, max: 1024 }),
  };
}

export function readJoinRequest(fields: Fields): JoinRequest {
  return {
    identity: readIdentity(fields.object('identity')),
    role: fields.oneOf('role', ['voter', 'learner']),
    peer: readAddress(fields.object('peer')),
  };
}

export function readJoinReply(fields: Fields): JoinReply {
  return {
    clusterId: fields.hexOrNull('clusterId', CLUSTER_ID_BYTES),
    shardCount: fields.integer('shardCount', { min: 1, max: 1024 }),
    members: fields.texts('members', MEMBERS_MAX),
  };
}

export function registrationJson({ claimId, ...rest }: RegistrationRequest): object {
  return { ...rest, claimId: base64(claimId) };
}

export function readRegistration(fields: Fields): RegistrationRequest {
  return {
    nodeId: fields.text('nodeId'),
    dekId: fields.integer('dekId', u32),
    epoch: fields.integer('epoch', { min: 1, max: NONCE_EPOCH_MAX }),
    claimId: fields.bytes('claimId', exactly(CLAIM_ID_BYTES)),
  };
}

export function challengeJson({ binding, wraps, nonce }: CapabilityChallenge): object {
  return {
    binding: { ...binding, clusterId: base64(binding.clusterId) },
    wraps: wraps.map(({ kekUri, bytes }) => ({ kekUri, bytes: base64(bytes) })),
    nonce: base64(nonce),
  };
}

export function readChallenge(fields: Fields): CapabilityChallenge {
  const binding = fields.object('binding');
  const purposes = Object.keys(purposeByte) as KeyPurpose[];
  return {
    binding: {
      clusterId: binding.bytes('clusterId', exactly(CLUSTER_ID_BYTES)),
      dekId: binding.integer('dekId', u32),
      purpose: binding.oneOf('purpose', purposes),
    },
    wraps: fields.objects('wraps', WRAPS_MAX).map((wrap) => ({
      kekUri: wrap.text('kekUri', KEK_URI_CHARACTERS_MAX),
      bytes: wrap.bytes('bytes'),
    })),
    nonce: fields.bytes('nonce', exactly(NONCE_BYTES)),
  };
}

export function proofJson({ mac, ...rest }: CapabilityProof): object {
  return { ...rest, mac: base64(mac) };
}

export function readProof(fields: Fields): CapabilityProof {
  return {
    nodeId: fields.text('nodeId'),
    formatVersion: fields.integer('formatVersion', u32),
    release: fields.text('release'),
    mac: fields.bytes('mac', exactly(MAC_BYTES)),
  };
}

export function readDekId(fields: Fields): number {
  return fields.integer('dekId', u32);
}

export function readKeyNeeds(fields: Fields): KeyNeeds {
  return {
    nodeId: fields.text('nodeId'),
    processId: fields.text('processId'),
    dek: fields.oneOf('dek', needOfDek),
    shards: fields.objects('shards', SHARDS_MAX).map((shard) => ({
      shardId: shard.integer('shardId', shardIds),
      state: shard.text('state'),
      seals: shard.boolean('seals'),
      rows: shard.integer('rows', counts),
      snapshots: shard.integer('snapshots', counts),
      installing: shard.boolean('installing'),
      installs: shard.integer('installs', counts),
    })),
  };
}

/** Ids of shards; there may be none. */
export function readShardIds(fields: Fields): readonly number[] {
  return fields.integers('shardIds', SHARDS_MAX, shardIds);
}

function readAddress(fields: Fields): Address {
  return { host: fields.text('host'), port: fields.integer('port', { min: 1, max: 65_535 }) };
}
