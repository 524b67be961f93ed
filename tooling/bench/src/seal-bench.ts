/** Seal and open of a raft payload against the bare node:crypto calls, same key, AAD and sizes. */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { Keyring, NonceSequence, RaftSeal } from '@raftseal/envelope';
import { formatSpread, ratios, spread } from './statistics.ts';
import { table } from './table.ts';

const sizes = [64, 256, 1024, 4096, 16_384, 65_536] as const;
const ROUNDS = 9;
const ROUND_MS = 60;
const DEK_ID = 7;
const place = { shardId: 1, index: 1_000n } as const;

export function sealBench(): string {
  const rows = sizes.map((size) => {
    const { seal, open, bareSeal, bareOpen } = subjects(size);
    const times = measure([seal, bareSeal, open, bareOpen]);
    const [sealing = [], bareSealing = [], opening = [], bareOpening = []] = times;
    return [
      `${size}`,
      formatSpread(spread(sealing), 2),
      formatSpread(spread(ratios(sealing, bareSealing)), 2),
      formatSpread(spread(opening), 2),
      formatSpread(spread(ratios(opening, bareOpening)), 2),
    ];
  });
  const head = ['bytes', 'seal us', 'seal / bare', 'open us', 'open / bare'];
  return `## Seal and open against bare node:crypto\n\n${table(head, rows)}`;
}

type Operation = () => unknown;

function subjects(size: number): Record<'seal' | 'open' | 'bareSeal' | 'bareOpen', Operation> {
  const dek = randomBytes(32);
  const plaintext = randomBytes(size);
  const clusterId = randomBytes(16);
  const keyring = new Keyring();
  keyring.add(DEK_ID, 'raft', dek);
  const raftSeal = new RaftSeal({ clusterId, keyring });
  const nonces = new NonceSequence({ writerId: 1, nonceEpoch: 1 });
  const under = { dekId: DEK_ID, nonces, ...place };
  const envelope = raftSeal.seal(under, plaintext);
  const key = createSecretKey(dek);
  const nonce = Buffer.alloc(12);
  const aad = randomBytes(35);
  const tagged = { authTagLength: 16 } as const;
  let counter = 0;
  const bareSeal = (): readonly [Buffer, Buffer] => {
    nonce.writeUInt32BE(counter++ % 2 ** 32, 8);
    const cipher = createCipheriv('aes-256-gcm', key, nonce, tagged).setAAD(aad);
    const body = cipher.update(plaintext);
    cipher.final();
    return [body, cipher.getAuthTag()];
  };
  const [body, tag] = bareSeal();
  const fixedNonce = Buffer.from(nonce);
  return {
    seal: () => raftSeal.seal(under, plaintext),
    open: () => raftSeal.open(place, envelope),
    bareSeal,
    bareOpen: () => {
      const decipher = createDecipheriv('aes-256-gcm', key, fixedNonce, tagged).setAAD(aad);
      const opened = decipher.setAuthTag(tag).update(body);
      decipher.final();
      return opened;
    },
  };
}

/** Microseconds per call, per round; the operations take turns, so that drift hits them alike. */
function measure(operations: readonly Operation[]): number[][] {
  for (const operation of operations) timed(operation, ROUND_MS);
  const times: number[][] = operations.map(() => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, operation] of operations.entries()) times[i]?.push(timed(operation, ROUND_MS));
  }
  return times;
}

function timed(operation: Operation, durationMs: number): number {
  const startMs = performance.now();
  let calls = 0;
  let elapsedMs = 0;
  while (elapsedMs < durationMs) {
    for (let i = 0; i < 100; i++) operation();
    calls += 100;
    elapsedMs = performance.now() - startMs;
  }
  return (elapsedMs * 1000) / calls;
}
