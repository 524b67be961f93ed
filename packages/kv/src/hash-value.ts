/**
 * A Redis hash: fields in the order in which they were first set. That order is part of the state
 * (replies show it), so the row codec keeps it.
 */
import type { ByteString } from '@raftseal/interface';
import { FieldScan } from './field-scan.ts';

/** What one field costs beside its bytes, about. */
const FIELD_OVERHEAD_BYTES = 80;

export class HashValue {
  readonly #fields: Map<ByteString, ByteString>;
  #bytes = 0;
  #scan: FieldScan | undefined;

  constructor(fields: Map<ByteString, ByteString> = new Map()) {
    this.#fields = fields;
    for (const [field, value] of fields) this.#bytes += costOf(field, value);
  }

  get size(): number {
    return this.#fields.size;
  }

  /** Memory taken, about. */
  get bytes(): number {
    return this.#bytes;
  }

  get(field: ByteString): ByteString | undefined {
    return this.#fields.get(field);
  }

  has(field: ByteString): boolean {
    return this.#fields.has(field);
  }

  entries(): MapIterator<[ByteString, ByteString]> {
    return this.#fields.entries();
  }

  keys(): MapIterator<ByteString> {
    return this.#fields.keys();
  }

  values(): MapIterator<ByteString> {
    return this.#fields.values();
  }

  /** Returns true where the field is new. */
  set(field: ByteString, value: ByteString): boolean {
    const before = this.#fields.get(field);
    this.#fields.set(field, value);
    if (before !== undefined) {
      this.#bytes += value.length - before.length;
      return false;
    }
    this.#bytes += costOf(field, value);
    this.#scan?.add(field);
    return true;
  }

  /** Returns true where the field was there. */
  delete(field: ByteString): boolean {
    const value = this.#fields.get(field);
    if (value === undefined) return false;
    this.#fields.delete(field);
    this.#bytes -= costOf(field, value);
    this.#scan?.remove(field);
    return true;
  }

  /** A page of fields; see {@link FieldScan.page}. */
  scan(cursor: bigint, count: number): { cursor: bigint; fields: ByteString[] } {
    this.#scan ??= new FieldScan(this.#fields.keys(), this.#fields.size);
    return this.#scan.page(cursor, count);
  }

  clone(): HashValue {
    return new HashValue(new Map(this.#fields));
  }
}

function costOf(field: ByteString, value: ByteString): number {
  return FIELD_OVERHEAD_BYTES + field.length + value.length;
}
