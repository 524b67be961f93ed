/** Files of a log with a bug in them. */
import { open } from 'node:fs/promises';
import { type LogFiles, nodeLogFiles } from '@raftseal/raft-engine-embedded';

/** `unflushed`: an append is reported before it is on the device. */
export function logFiles(plant: string | undefined): LogFiles {
  if (plant === 'unflushed') return { ...nodeLogFiles, open: openUnflushed };
  if (plant === 'no-directory-flush') {
    return { ...nodeLogFiles, flushDirectory: async () => undefined };
  }
  return nodeLogFiles;
}

const openUnflushed: LogFiles['open'] = async (path, access) => {
  const file = await nodeLogFiles.open(path, access);
  if (access !== 'durable') return file;
  const handle = await open(path, 'r+');
  return {
    ...file,
    writeFlushed: async (buffers, position) =>
      (await handle.writev([...buffers], position)).bytesWritten,
    async close() {
      await handle.close();
      await file.close();
    },
  };
};
