/**
 * What an operator does to the keys of a cluster in the course of a run: from a KEK in a file to both
 * that and a key service, to the key service alone, with rotations and backups before and after, and
 * every key that was replaced retired in the end.
 */
import type { Random } from '../random.ts';
import type { KeyPurpose } from '../world/node-admin.ts';

export type KekName = 'file' | 'vault';

export type KeyStep =
  | { readonly kind: 'rotate'; readonly purpose: KeyPurpose }
  /** While a key is rotated that the backup needs: rows are under it when the backup begins. */
  | { readonly kind: 'back-up'; readonly rotating: 'storage' | 'index' }
  /** Keys that are needed: each of these retirements has to be refused. */
  | { readonly kind: 'retire-too-early' }
  /** The same, of a key that was replaced and that a backup needs. */
  | { readonly kind: 'retire-backed-up' }
  | { readonly kind: 'forget-backups' }
  /** At every node. */
  | { readonly kind: 'use-keks'; readonly keks: readonly KekName[] }
  | { readonly kind: 'rewrap'; readonly keks: readonly KekName[] }
  /** Every node, one after the other. */
  | { readonly kind: 'restart-nodes' }
  /** Every key that was replaced. */
  | { readonly kind: 'retire-replaced' };

const purposes: readonly KeyPurpose[] = ['storage', 'raft', 'index'];

export function planKeySteps(random: Random): readonly KeyStep[] {
  const rotations = (): readonly KeyStep[] =>
    random.shuffled(purposes).map((purpose): KeyStep => ({ kind: 'rotate', purpose }));
  const backUp = (): KeyStep => ({
    kind: 'back-up',
    rotating: random.pick(['storage', 'index'] as const),
  });
  // A backup needs every key that is there: what else is needed is found out before it is taken.
  const tooEarly = (): readonly KeyStep[] => [
    { kind: 'retire-too-early' },
    backUp(),
    { kind: 'retire-backed-up' },
  ];
  const either = <Step>(steps: readonly Step[]): readonly Step[] =>
    random.chance(0.5) ? steps : [];
  const goOver = (...keks: readonly KekName[]): readonly KeyStep[] => [
    { kind: 'use-keks', keks },
    { kind: 'rewrap', keks },
  ];
  const retired: readonly KeyStep[] = [{ kind: 'forget-backups' }, { kind: 'retire-replaced' }];
  return [
    ...rotations(),
    ...tooEarly(),
    ...either(retired),
    ...goOver('file', 'vault'),
    ...either(rotations()),
    ...goOver('vault'),
    ...either(retired),
    { kind: 'restart-nodes' },
    ...rotations(),
    ...tooEarly(),
    ...retired,
  ];
}

export function nameOfStep(step: KeyStep): string {
  if (step.kind === 'rotate') return `rotate ${step.purpose}`;
  if (step.kind === 'back-up') return `back-up, rotate ${step.rotating}`;
  return 'keks' in step ? `${step.kind} ${step.keks.join('+')}` : step.kind;
}
