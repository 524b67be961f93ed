/** Which segment files a directory has, and what their header pages say. */
import { RaftsealError } from '@raftseal/interface';
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader } from './format.ts';
import { type LogFile, type LogFiles, readFully } from './log-files.ts';
import { segmentName, segmentSequence } from './segment.ts';

/** Sequences of the segment files in a directory, in order. */
export async function listSegments(files: LogFiles, directory: string): Promise<number[]> {
  const sequences = (await files.list(directory))
    .map(segmentSequence)
    .filter((sequence) => sequence !== undefined);
  return sequences.sort((a, b) => a - b);
}

/** What keeps a segment's header from being used, and where it shows. */
export interface HeaderFault {
  readonly offset: number;
  readonly wrong: string;
}

/**
 * Reads and checks the header page of an open segment file, and the length of the file against it.
 * @throws RAFTSEAL_ENGINE_FORMAT where the page is intact, but of a version not known here.
 */
export async function readSegmentHeader(
  file: LogFile,
  sequence: number,
): Promise<SegmentHeader | HeaderFault> {
  const page = Buffer.alloc(SEGMENT_HEADER_BYTES);
  const count = await readFully(file, page, 0);
  const header = decodeSegmentHeader(page.subarray(0, count));
  if (header === 'unknown version') {
    throw new RaftsealError(
      'RAFTSEAL_ENGINE_FORMAT',
      `segment ${segmentName(sequence)} has format version ${page.readUInt32BE(8)}: open it with ` +
        'the version that wrote it',
    );
  }
  if (header === 'damaged') return { offset: 0, wrong: 'its header is not intact' };
  if (header.sequence !== sequence) {
    return { offset: 12, wrong: `its header says that it is segment ${header.sequence}` };
  }
  const fileBytes = await file.byteLength();
  if (fileBytes < header.byteLength) {
    const wrong = `it has ${fileBytes} bytes of the ${header.byteLength} that it was made with`;
    return { offset: fileBytes, wrong };
  }
  return header;
}
