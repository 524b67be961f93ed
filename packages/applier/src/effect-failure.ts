/** What a step of the key lifecycle fails with. All are fatal but where the caller says otherwise. */
import { codeOf, type ErrorCode, errorCodes, RaftsealError } from '@raftseal/interface';

export type EffectFailure = Extract<ErrorCode, `RAFTSEAL_APPLIER_${string}_FAILED`>;

export async function failingWith(code: EffectFailure, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (cause) {
    throw failed(code, { cause, fatal: true });
  }
}

export function failed(
  code: EffectFailure,
  options: { cause: unknown; fatal: boolean },
): RaftsealError {
  const reason = codeOf(options.cause) ?? 'an unexpected error';
  return new RaftsealError(
    code,
    `expected a step of the key lifecycle to succeed; found that ${errorCodes[code]} (${reason}). ` +
      'Remove the cause, then restart the node: the entry is applied again.',
    options,
  );
}
