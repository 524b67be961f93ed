/**
 * A node whose process ends between the durable record of a key operation and the durable sidecar,
 * for audited-node.test.ts. Arguments: data directory, KEK, purpose of the key to rotate.
 */
import type { KeyPurpose } from '@raftseal/interface';
import { SidecarFile } from '@raftseal/sidecar';
import { startNode } from '../../src/node.ts';

const [dataPath = '', kekUri = '', purpose] = process.argv.slice(2);
const here = { host: '127.0.0.1', port: 0 };

async function run(): Promise<void> {
  const node = await startNode({
    dataPath,
    shardCount: undefined,
    encryption: 'on',
    kekUris: [kekUri],
    redis: { ...here, password: undefined },
    admin: { ...here, tokenPath: undefined },
    cacheBytesMax: 1024 * 1024,
  });
  const die = (): unknown => process.kill(process.pid, 'SIGKILL');
  Object.assign(SidecarFile.prototype, { write: die });
  await node.admin.rotate(purpose as KeyPurpose);
}

void run();
