/** The files of a store, which a disk may refuse to have opened or made. */
import { RaftsealError } from '@raftseal/interface';

/** Opens or makes files of a store in its directory. @throws RAFTSEAL_KV_OPEN_FAILED */
export function openedIn<Result>(path: string, open: () => Result): Result {
  try {
    return open();
  } catch (error) {
    if (error instanceof RaftsealError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new RaftsealError(
      'RAFTSEAL_KV_OPEN_FAILED',
      `the files of a store were expected to be opened or made in ${path}, and were not (${reason}): ` +
        'check the disk, its free space and the owner of the files, then start again',
      { cause: error },
    );
  }
}
