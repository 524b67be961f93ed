/** Reading of option values; every refusal says what was expected. */
import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { codeOf, RaftsealError } from '@raftseal/interface';
import { Option } from 'commander';
import { kekSchemes } from '../kek-from-uri.ts';

export function optionError(message: string): RaftsealError {
  return new RaftsealError('RAFTSEAL_NODE_OPTION', message);
}

/** 0 takes a free port. */
export const portBounds: { readonly min: number; readonly max: number } = { min: 0, max: 65_535 };

/** A whole number within bounds. */
export function wholeNumber(
  name: string,
  bounds: { readonly min: number; readonly max: number },
): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= bounds.min && value <= bounds.max) return value;
    throw optionError(
      `--${name}: expected a whole number from ${bounds.min} to ${bounds.max}, found "${text}"`,
    );
  };
}

/** A size in bytes, with an optional unit: 512k, 64m, 2g (powers of 1024). */
export function byteSize(name: string): (text: string) => number {
  const unitBytes: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };
  return (text) => {
    const match = /^(\d{1,12})([kmg]?)b?$/i.exec(text);
    const factor = unitBytes[match?.[2]?.toLowerCase() ?? 'none'] ?? Number.NaN;
    const bytes = Number(match?.[1]) * factor;
    if (Number.isSafeInteger(bytes)) return bytes;
    throw optionError(`--${name}: expected a size such as 268435456 or 256m, found "${text}"`);
  };
}

export function oneOf<T extends string>(name: string, values: readonly T[]): (text: string) => T {
  return (text) => {
    const value = values.find((known) => known === text);
    if (value !== undefined) return value;
    throw optionError(`--${name}: expected one of ${values.join(', ')}, found "${text}"`);
  };
}

/** A secret that stands alone in a file; the line end does not belong to it. */
export function secretFromFile(name: string, path: string): string {
  let text: string;
  let mode: number;
  try {
    text = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
    mode = statSync(path).mode;
  } catch (cause) {
    const reason = codeOf(cause) ?? 'unexpected error';
    throw optionError(`--${name}: ${path} cannot be read (${reason})`);
  }
  if ((mode & 0o077) !== 0) {
    throw optionError(`--${name}: ${path} can be read by others: chmod 600`);
  }
  if (text === '') throw optionError(`--${name}: ${path} is empty`);
  return text;
}

/** Every key is wrapped under each KEK that is given. */
export function kekOption(): Option {
  const forms = kekSchemes.map((scheme) => `${scheme}:...`).join(', ');
  return new Option('--kek <uri>', `one of ${forms}; once for each KEK`).argParser(
    (uri: string, given: readonly string[] | undefined) => [...(given ?? []), uri],
  );
}

/** The user's configuration folder for raftseal, as the XDG base directory specification has it. */
export function configurationPath(name: string): string {
  const { XDG_CONFIG_HOME } = process.env;
  return join(XDG_CONFIG_HOME || join(homedir(), '.config'), 'raftseal', name);
}
