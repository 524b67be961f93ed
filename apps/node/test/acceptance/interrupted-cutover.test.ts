/**
 * A node that is killed at any moment of its cutover: it comes back, finishes, and has every write
 * that was acknowledged.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { NodeStatus } from '../../src/admin/operations.ts';
import { readToken } from '../../src/admin/token.ts';
import type { VerifyReport } from '../../src/verify/report.ts';
import { command, type NodeProcess, startNode, type Workspace, workspace } from './node-process.ts';
import { startWriters } from './writers.ts';

const WRITERS = 4;

describe('a node killed in the middle of its cutover', { timeout: 120_000 }, () => {
  let place: Workspace;
  let node: NodeProcess | undefined;

  afterEach(async () => {
    await node?.kill();
    await place.remove();
  });

  /** As an operator would: with encryption on as soon as there is key state to start with. */
  async function restart(): Promise<NodeProcess> {
    const sealing = existsSync(join(place.dataPath, 'keys', 'keys.raftseal'));
    return startNode(place, sealing ? [] : ['--encryption', 'off']);
  }

  it.each([0, 5, 10, 20, 40, 80])(
    'after %i ms, finishes and loses nothing',
    async (killAfterMs) => {
      place = await workspace();
      node = await startNode(place, ['--encryption', 'off']);
      const clients = Array.from({ length: WRITERS }, () => node?.client() ?? expect.fail());
      const writers = startWriters(clients, 'interrupted');
      while (writers.acknowledged <= 50) await delay(10);
      const token = await readToken(join(place.dataPath, 'admin.token'));
      const asked = fetch(new URL('/v1/encryption/enable', node.adminUrl), {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
      }).catch(() => undefined);
      await delay(killAfterMs);
      await node.kill();
      await writers.stop();
      await asked;
      node = await restart();
      await command(node, place, ['encryption', 'enable']);
      const status: NodeStatus = JSON.parse(await command(node, place, ['status', '--json']));
      expect(status.encryption).toBe('sealed');
      expect(await writers.lost(node.client())).toEqual([]);
      const report: VerifyReport = JSON.parse(await command(node, place, ['verify', '--json']));
      expect(report.problems).toEqual([]);
    },
  );
});
