/**
 * The registration of a backup that is being taken: from when it is made on, no key that it names
 * can be retired. Keys that are made later are not named: it is renewed until it names all.
 */
import { randomBytes } from 'node:crypto';
import type { ReplicatedKeyState } from '@raftseal/applier';
import { codeOf } from '@raftseal/interface';
import type { Logger } from 'pino';
import { neededKeys } from './needed-keys.ts';

/** What is asked of the control log; each call may be made again. */
export interface BackupRegistrations {
  /** Resolves to the ids of the keys that are kept for it: all that stored rows can need. */
  register(backupId: string): Promise<readonly number[]>;
  forget(backupId: string): Promise<void>;
}

export class KeyRegistration {
  readonly #registrations: BackupRegistrations;
  readonly #log: Logger;
  #backupId: string;
  #dekIds: readonly number[];

  static async make(registrations: BackupRegistrations, log: Logger): Promise<KeyRegistration> {
    const backupId = newBackupId();
    const dekIds = await registrations.register(backupId);
    return new KeyRegistration({ registrations, log, backupId, dekIds });
  }

  private constructor(own: {
    readonly registrations: BackupRegistrations;
    readonly log: Logger;
    readonly backupId: string;
    readonly dekIds: readonly number[];
  }) {
    this.#registrations = own.registrations;
    this.#log = own.log;
    this.#backupId = own.backupId;
    this.#dekIds = own.dekIds;
  }

  /** Another one after each renewal. */
  get backupId(): string {
    return this.#backupId;
  }

  /** Whether it names every key that rows of this state can need. */
  names(keyState: ReplicatedKeyState): boolean {
    return neededKeys(keyState).every(({ dekId }) => this.#dekIds.includes(dekId));
  }

  /** Goes over to a registration of all keys that there are; the old one stays until then. */
  async renew(): Promise<void> {
    const before = this.#backupId;
    const backupId = newBackupId();
    this.#dekIds = await this.#registrations.register(backupId);
    this.#backupId = backupId;
    await this.#forget(before);
  }

  /** The backup has come to nothing. */
  end(): Promise<void> {
    return this.#forget(this.#backupId);
  }

  /** A registration that stays does no harm but that its keys are kept. */
  async #forget(backupId: string): Promise<void> {
    await this.#registrations.forget(backupId).catch((error: unknown) => {
      const what = 'the keys of a backup that was not finished are kept until it is forgotten';
      this.#log.warn({ backupId, code: codeOf(error) }, what);
    });
  }
}

/** Sorts by time; the random part keeps those of one second apart. */
function newBackupId(): string {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  return `backup-${time}-${randomBytes(4).toString('hex')}`;
}
