/**
 * The program of the token process: it loads the module of the token's maker, opens the token and
 * does as it is asked, one request at a time. It ends when its parent closes the channel or dies.
 */
import { codeOf, type ErrorCode, errorCodes } from '@raftseal/interface';
import type { NumberedOutcome, NumberedRequest, TokenOutcome, TokenRequest } from './messages.ts';
import { Token } from './token/token.ts';

/** How long a module may take to let go of its token. */
const CLOSE_TIMEOUT_MS = 1_000;

let token: Token | undefined;
let queue: Promise<void> = Promise.resolve();

// Signals go to a whole group of processes; the parent may need the KEK until it has ended.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

process.on('message', (message: NumberedRequest) => {
  queue = queue.then(async () => {
    const outcome = await outcomeOf(message.request);
    const reply: NumberedOutcome = { number: message.number, outcome };
    process.send?.(reply, () => undefined);
  });
});

process.on('disconnect', () => {
  // A thread that hangs in the module keeps a process from exiting by itself.
  const end = (): void => void process.kill(process.pid, 'SIGKILL');
  setTimeout(end, CLOSE_TIMEOUT_MS);
  queue.then(() => token?.close()).then(end, end);
});

async function outcomeOf(request: TokenRequest): Promise<TokenOutcome> {
  try {
    const bytes = await answer(request);
    return bytes === undefined ? { kind: 'done' } : { kind: 'done', bytes };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { kind: 'refused', code: errorCodeOf(error), message };
  }
}

async function answer(request: TokenRequest): Promise<Uint8Array | undefined> {
  if (request.kind === 'open') {
    try {
      token = await Token.open(request.options);
    } finally {
      request.options.pin?.fill(0);
    }
    return undefined;
  }
  if (token === undefined) throw new Error('the token is not open');
  if (request.kind === 'wrap') return await token.wrap(request.dek, request.parameters);
  return await token.unwrap(request.sealed, request.parameters);
}

function errorCodeOf(error: unknown): ErrorCode {
  const code = codeOf(error);
  const known = Object.keys(errorCodes).find((each): each is ErrorCode => each === code);
  return known ?? 'RAFTSEAL_KEK_UNAVAILABLE';
}
