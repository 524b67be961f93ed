/**
 * A node that is new has no key state, and would read a log from wherever it begins. Where the
 * cluster is sealed-only it has to know before it reads the first entry: a log that somebody has
 * lengthened backwards, with entries in the clear, would be applied up to the entry that forbids it.
 */
import { openReplicatedKeyState } from '@raftseal/applier';
import type { NodeKeys } from '../node-keys.ts';
import type { PeerClient } from '../peer/client.ts';
import type { ControlChannel } from './control-channel.ts';

export interface LearnParts {
  readonly keys: NodeKeys;
  readonly control: ControlChannel;
  readonly client: Pick<PeerClient, 'keyState'>;
}

/** Takes over the key state of the control shard's leader, if it says that nothing else is read. */
export async function learnSealedOnly(
  { keys, control, client }: LearnParts,
  signal: AbortSignal,
): Promise<void> {
  if (keys.keks.isEmpty || keys.state.sealedOnlyIndex !== undefined) return;
  const keyState = await control.untilDone(
    { here: async () => Buffer.alloc(0), there: (url) => client.keyState(url) },
    { signal },
  );
  if (keyState.length === 0) return;
  const replicated = await openReplicatedKeyState(keyState, keys.keks.unwrap);
  if (replicated.sealedOnlyIndex !== undefined) await keys.lifecycle.adopt(replicated);
}
