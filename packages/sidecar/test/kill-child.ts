/**
 * A process that writes a sidecar and kills itself, for kill.test.ts. Arguments: directory,
 * generation, the step before which to stop (0: none), bytes of the state, bytes of one write.
 * Prints `acknowledged` and the count of steps, or the code of the refusal.
 */
import { codeOf } from '@raftseal/interface';
import { nodeFileSystem, SidecarFile } from '../src/index.ts';
import { mac, nextState } from './key-states.ts';
import { inPieces, stepped } from './stepped-file-system.ts';

const [directory = '', generation = '', killBefore, stateBytes, pieceBytes] = process.argv.slice(2);

let steps = 0;
const fileSystem = stepped(inPieces(nodeFileSystem, Number(pieceBytes)), ({ number }) => {
  steps = number;
  if (number === Number(killBefore)) process.kill(process.pid, 'SIGKILL');
});

new SidecarFile({ directory, fileSystem })
  .write(nextState(BigInt(generation), Number(stateBytes)), mac)
  .then(
    () => process.stdout.write(`acknowledged ${steps}`),
    (error: unknown) => process.stdout.write(codeOf(error) ?? String(error)),
  );
