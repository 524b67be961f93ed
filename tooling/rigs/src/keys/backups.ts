/**
 * Backups that an operator takes of a cluster under load, verifies with the command line, offline,
 * and forgets. Each attempt has a directory of its own: what one leaves that was ended halfway is
 * not looked at.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../world/command.ts';
import type { BackupSummary } from '../world/node-admin.ts';
import type { World } from '../world/world.ts';
import type { Ballast } from './ballast.ts';
import type { Requests } from './requests.ts';

export interface BackupsParts {
  readonly world: World;
  readonly requests: Requests;
  /** Written anew right before each backup: what was acknowledged by then is in it. */
  readonly marks: Ballast;
  /** The built `main.js` of the node. */
  readonly program: string;
  /** What the program finds a key service with. */
  readonly environment: Readonly<Record<string, string>>;
}

/** A backup that is whole, and that verifies. */
export interface VerifiedBackup extends BackupSummary {
  readonly path: string;
  /** Of the marks. */
  readonly version: number;
  /** Those that its keys are wrapped under. */
  readonly kekUris: readonly string[];
}

/** What `backup verify --json` says, as far as the rig looks at it. */
interface Verification {
  readonly backupId: string;
  readonly rows: number;
  readonly problems: readonly string[];
  readonly restorable: boolean;
}

/** A key service is tried for 15 s, once for each key. */
const VERIFY_TIMEOUT_MS = 120_000;

export class Backups {
  readonly #parts: BackupsParts;
  readonly #problems: string[] = [];
  #attempts = 0;
  #last: VerifiedBackup | undefined;
  #isRegistered = false;

  constructor(parts: BackupsParts) {
    this.#parts = parts;
  }

  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Undefined where none was taken since the last were forgotten. */
  get registered(): VerifiedBackup | undefined {
    return this.#isRegistered ? this.#last : undefined;
  }

  /** Forgotten or not. */
  get last(): VerifiedBackup | undefined {
    return this.#last;
  }

  /** @param kekUris under which every key is wrapped */
  async take(kekUris: readonly string[]): Promise<void> {
    const { world, requests, marks } = this.#parts;
    const parent = join(world.directory, 'backups');
    await mkdir(parent, { recursive: true });
    let taken: VerifiedBackup | undefined;
    await requests.until('take a backup', async () => {
      const version = ++this.#attempts;
      await marks.write(version);
      const node = requests.anyNode();
      const path = join(parent, `${version}`);
      const summary = await requests.ask('back-up', node, () => node.admin.createBackup(path));
      if (summary !== undefined) taken = { ...summary, path, version, kekUris };
      return taken !== undefined;
    });
    if (taken === undefined) return;
    await this.#verify(taken);
    this.#last = taken;
    this.#isRegistered = true;
  }

  /** All that any node knows of: those too whose taking was ended halfway. */
  async forgetAll(): Promise<void> {
    const { world, requests } = this.#parts;
    await requests.until('forget the backups', async () => {
      const known = await Promise.all(
        world.nodes.map(({ admin }) => admin.backups().catch(() => undefined)),
      );
      for (const backupId of new Set(known.flatMap((ids) => ids ?? []))) {
        const node = requests.anyNode();
        await requests.ask('forget-backup', node, () => node.admin.forgetBackup(backupId));
      }
      return known.every((ids) => ids?.length === 0);
    });
    this.#isRegistered = false;
  }

  async #verify({ path, kekUris, backupId, rows }: VerifiedBackup): Promise<void> {
    const { requests, program, environment } = this.#parts;
    const keks = kekUris.flatMap((uri) => ['--kek', uri]);
    const command = [
      process.execPath,
      program,
      'backup',
      'verify',
      path,
      '--json',
      ...keks,
    ] as const;
    const options = { environment, timeoutMs: VERIFY_TIMEOUT_MS };
    await requests.until('verify the backup', async () => {
      const output = await requests.noted('verify-backup', path, () =>
        runCommand(command, options),
      );
      // What is no refusal is a problem already, and nothing changes it.
      if (output === undefined) return !this.#isVerificationRefused;
      const found = JSON.parse(output) as Verification;
      if (!found.restorable || found.backupId !== backupId || found.rows !== rows) {
        this.#problems.push(`backup ${backupId} of ${rows} rows does not verify: ${output}`);
      }
      return true;
    });
  }

  get #isVerificationRefused(): boolean {
    const { attempts } = this.#parts.requests;
    const last = attempts.findLast(({ request }) => request === 'verify-backup');
    return last?.outcome.startsWith('RAFTSEAL_') === true;
  }
}
