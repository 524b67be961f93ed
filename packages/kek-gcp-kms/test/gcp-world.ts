/** A Cloud KMS on a loopback port with two keys, and providers over it. */
import { tmpdir } from 'node:os';
import type { KekProvider } from '@raftseal/interface';
import { type GcpKey, type GcpKms, startGcpKms } from '@raftseal/kek-services-for-tests';
import { afterAll, beforeAll } from 'vitest';
import { type KekFromGcpKmsOptions, kekFromGcpKms } from '../src/index.ts';

const limits = { attemptMs: 3_000, callMs: 25_000 };

/** For what never gets well, so that it ends soon. */
export const briefLimits = { attemptMs: 900, callMs: 1_000 };

export interface GcpWorld {
  readonly kms: GcpKms;
  readonly key: GcpKey;
  readonly other: GcpKey;
  /** @param name of a key; default: the first one's. */
  open(name?: string, options?: Partial<KekFromGcpKmsOptions>): Promise<KekProvider>;
}

/**
 * The world is there while the tests of the calling file run. Its metadata server stands where the
 * library looks for the one of a Google Cloud machine.
 */
export function useGcpKms(): GcpWorld {
  let started: { kms: GcpKms; key: GcpKey; other: GcpKey } | undefined;
  const running = () => {
    if (started === undefined) throw new Error('the KMS runs inside of tests only');
    return started;
  };
  beforeAll(async () => {
    const kms = await startGcpKms();
    started = { kms, key: kms.createKey('kek'), other: kms.createKey('other') };
    process.env.GCE_METADATA_HOST = `127.0.0.1:${kms.http.port}`;
    process.env.METADATA_SERVER_DETECTION = 'assume-present';
    // None of this user's own credentials are found.
    delete process.env.GOOGLE_APPLICATION_CREDENTIALS;
    process.env.HOME = tmpdir();
  });
  afterAll(() => started?.kms.http.close());
  return {
    get kms() {
      return running().kms;
    },
    get key() {
      return running().key;
    },
    get other() {
      return running().other;
    },
    open: (name = running().key.name, options = {}) =>
      kekFromGcpKms({
        uri: `gcp-kms:${name}`,
        endpoint: running().kms.http.origin,
        limits,
        ...options,
      }),
  };
}
