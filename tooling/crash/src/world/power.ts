/**
 * A power cut of one file system: it is shut down without writing its journal or anything that is in
 * memory, as `EXT4_IOC_SHUTDOWN` and `XFS_IOC_GOINGDOWN` do. What a mount finds afterwards is what
 * the device held at that moment.
 */
import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';

/** `_IOR('X', 125, __u32)`, the same for ext4 and XFS. */
const SHUTDOWN = 0x8004587d;
const WITHOUT_FLUSH_OF_THE_LOG = 2;

type Ioctl = (descriptor: number, request: number, argument: number[]) => number;

let ioctl: Ioctl | undefined;

/** Returns once nothing is written to the device any more. @throws where the system refuses */
export function cutPower(mountPath: string): void {
  ioctl ??= koffi.load(null).func('int ioctl(int, unsigned long, _In_ uint32_t *)');
  const descriptor = openSync(mountPath, 'r');
  try {
    const status = ioctl(descriptor, SHUTDOWN, [WITHOUT_FLUSH_OF_THE_LOG]);
    if (status !== 0) {
      throw new Error(`the power of ${mountPath} was not cut: errno ${koffi.errno()}`);
    }
  } finally {
    closeSync(descriptor);
  }
}
