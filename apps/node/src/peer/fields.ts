/** Reads the fields of a JSON object that another node sent: nothing is taken unchecked. */
import type { RaftsealError } from '@raftseal/interface';

export interface IntegerBounds {
  readonly min: number;
  readonly max: number;
}

const TEXT_CHARACTERS_MAX = 256;
const BYTES_MAX = 32 * 1024;

export class Fields {
  readonly #values: Record<string, unknown>;
  readonly #refuse: (expected: string) => RaftsealError;

  /** @param refuse makes the error of a field that is not as expected */
  constructor(value: unknown, refuse: (expected: string) => RaftsealError) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw refuse('expected a JSON object');
    }
    this.#values = value as Record<string, unknown>;
    this.#refuse = refuse;
  }

  object(name: string): Fields {
    return new Fields(this.#values[name], () => this.#error(name, 'an object'));
  }

  objects(name: string, countMax: number): readonly Fields[] {
    const objects = this.objectsIfAny(name, countMax);
    if (objects.length > 0) return objects;
    throw this.#error(name, `1 to ${countMax} objects`);
  }

  objectsIfAny(name: string, countMax: number): readonly Fields[] {
    const value = this.#values[name];
    const refuse = (): RaftsealError => this.#error(name, `at most ${countMax} objects`);
    if (!Array.isArray(value) || value.length > countMax) throw refuse();
    return value.map((each) => new Fields(each, refuse));
  }

  flag(name: string): boolean {
    const value = this.#values[name];
    if (typeof value === 'boolean') return value;
    throw this.#error(name, 'true or false');
  }

  /** One line, not empty. */
  text(name: string, charactersMax: number = TEXT_CHARACTERS_MAX): string {
    const value = this.#values[name];
    if (isLine(value, charactersMax)) return value;
    throw this.#error(name, `a text of 1 to ${charactersMax} printable characters`);
  }

  texts(name: string, countMax: number): readonly string[] {
    const value = this.#values[name];
    if (Array.isArray(value) && value.length <= countMax && value.every((text) => isLine(text))) {
      return value;
    }
    throw this.#error(name, `at most ${countMax} texts`);
  }

  integer(name: string, { min, max }: IntegerBounds): number {
    const value = this.#values[name];
    if (Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max) {
      return Number(value);
    }
    throw this.#error(name, `a whole number from ${min} to ${max}`);
  }

  integers(name: string, countMax: number, { min, max }: IntegerBounds): readonly number[] {
    const value = this.#values[name];
    const isIn = (each: unknown): boolean =>
      Number.isSafeInteger(each) && Number(each) >= min && Number(each) <= max;
    if (Array.isArray(value) && value.length <= countMax && value.every(isIn)) return value;
    throw this.#error(name, `at most ${countMax} whole numbers from ${min} to ${max}`);
  }

  boolean(name: string): boolean {
    const value = this.#values[name];
    if (typeof value === 'boolean') return value;
    throw this.#error(name, 'true or false');
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T {
    const value = values.find((known) => known === this.#values[name]);
    if (value !== undefined) return value;
    throw this.#error(name, values.join(' or '));
  }

  /** Lower-case hex, or null. */
  hexOrNull(name: string, length: number): string | null {
    const value = this.#values[name];
    if (value === null) return null;
    if (typeof value === 'string' && value.length === 2 * length && /^[0-9a-f]*$/.test(value)) {
      return value;
    }
    throw this.#error(name, `null, or ${length} bytes in hex`);
  }

  /** Bytes in base64. */
  bytes(name: string, { min, max }: IntegerBounds = { min: 1, max: BYTES_MAX }): Buffer {
    const value = this.#values[name];
    if (typeof value === 'string' && value.length <= 2 * max + 4) {
      const bytes = Buffer.from(value, 'base64');
      const inBounds = bytes.length >= min && bytes.length <= max;
      if (inBounds && bytes.toString('base64') === value) return bytes;
    }
    throw this.#error(name, `${min === max ? min : `${min} to ${max}`} bytes in base64`);
  }

  #error(name: string, expected: string): RaftsealError {
    return this.#refuse(`expected "${name}" to be ${expected}`);
  }
}

function isLine(value: unknown, charactersMax = TEXT_CHARACTERS_MAX): value is string {
  if (typeof value !== 'string' || value.length > charactersMax) return false;
  return /^[^\p{C}]+$/u.test(value);
}
