/** Options that say when keys are rotated without an operator. */
import { type Command, Option } from 'commander';
import { ROTATION_DEFAULT, type RotationPolicy, SEALS_ROTATED } from '../rotation-policy.ts';
import { optionError, wholeNumber } from './options.ts';

export interface RotationOptions {
  readonly rotateAfterDays: number;
  readonly rotateAfterSeals?: number;
  readonly rotateKeysMadeBefore?: number;
}

/** Fewer would rotate for the sake of rotating: each rotation is sealed itself. */
const SEALS_MIN = 1_000;
const DAYS_MAX = 36_500;

export function withRotation(command: Command): Command {
  const option = (flags: string, description: string): Option => new Option(flags, description);
  return command
    .addOption(
      option('--rotate-after-days <n>', 'age at which keys are rotated; 0: never for their age')
        .default(ROTATION_DEFAULT.afterDays)
        .argParser(wholeNumber('rotate-after-days', { min: 0, max: DAYS_MAX })),
    )
    .addOption(
      option(
        '--rotate-after-seals <n>',
        'seals of the cluster after which a key is rotated (default: 90 % of 2^32)',
      ).argParser(
        wholeNumber('rotate-after-seals', { min: SEALS_MIN, max: Number(SEALS_ROTATED) }),
      ),
    )
    .addOption(
      option(
        '--rotate-keys-made-before <time>',
        'once for the cluster: such as 2026-05-31T12:00:00Z',
      ).argParser(pointInTime('rotate-keys-made-before')),
    );
}

export function rotationOf(options: RotationOptions): RotationPolicy {
  const { rotateAfterDays: afterDays, rotateAfterSeals, rotateKeysMadeBefore } = options;
  return {
    afterDays,
    ...(rotateAfterSeals === undefined ? {} : { afterSeals: BigInt(rotateAfterSeals) }),
    ...(rotateKeysMadeBefore === undefined ? {} : { madeBeforeMs: rotateKeysMadeBefore }),
  };
}

/** ISO 8601, with a time zone where there is a time of day. @returns ms since the Unix epoch */
function pointInTime(name: string): (text: string) => number {
  const form = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/;
  return (text) => {
    const value = form.test(text) ? Date.parse(text) : Number.NaN;
    if (!Number.isNaN(value)) return value;
    throw optionError(
      `--${name}: expected a date, or a time with its time zone, such as 2026-05-31 or ` +
        `2026-05-31T12:00:00Z, found "${text}"`,
    );
  };
}
