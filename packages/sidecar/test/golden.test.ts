/**
 * Files of released format versions, never edited: every later release must open them. Format 1
 * was written from the sample state under the sample MAC key.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { decodeSidecar, encodeSidecar } from '../src/index.ts';
import { mac, sampleState } from './key-states.ts';

const fixture = (name: string): string => join(import.meta.dirname, 'fixtures', name);

it('opens the file of format 1, and writes it byte for byte', async () => {
  const file = await readFile(fixture('format-1.raftseal'));
  expect(decodeSidecar(file).verify(mac.macKey)).toEqual(sampleState());
  expect(encodeSidecar(sampleState(), mac).equals(file)).toBe(true);
});
