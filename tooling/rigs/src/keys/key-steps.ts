/**
 * What an operator does to the keys of a cluster in the course of a run: from a KEK in a file to both
 * that and a key service, to the key service alone, with rotations between and after, and every key
 * that was replaced retired in the end.
 */
import type { Random } from '../random.ts';
import type { KeyPurpose } from '../world/node-admin.ts';

export type KekName = 'file' | 'vault';

export type KeyStep =
  | { readonly kind: 'rotate'; readonly purpose: KeyPurpose }
  /** Keys that are needed: each of these retirements has to be refused. */
  | { readonly kind: 'retire-too-early' }
  /** At every node. */
  | { readonly kind: 'use-keks'; readonly keks: readonly KekName[] }
  | { readonly kind: 'rewrap'; readonly keks: readonly KekName[] }
  /** Every key that was replaced. */
  | { readonly kind: 'retire-replaced' };

const purposes: readonly KeyPurpose[] = ['storage', 'raft'];

export function planKeySteps(random: Random): readonly KeyStep[] {
  const rotations = (): readonly KeyStep[] =>
    random.shuffled(purposes).map((purpose): KeyStep => ({ kind: 'rotate', purpose }));
  const either = <Step>(steps: readonly Step[]): readonly Step[] =>
    random.chance(0.5) ? steps : [];
  const goOver = (...keks: readonly KekName[]): readonly KeyStep[] => [
    { kind: 'use-keks', keks },
    { kind: 'rewrap', keks },
  ];
  const retired: readonly KeyStep[] = [{ kind: 'retire-replaced' }];
  return [
    ...rotations(),
    { kind: 'retire-too-early' },
    ...either(retired),
    ...goOver('file', 'vault'),
    ...either(rotations()),
    ...goOver('vault'),
    ...either(retired),
    ...rotations(),
    { kind: 'retire-too-early' },
    ...retired,
  ];
}

export function nameOfStep(step: KeyStep): string {
  if (step.kind === 'rotate') return `rotate ${step.purpose}`;
  return 'keks' in step ? `${step.kind} ${step.keks.join('+')}` : step.kind;
}
