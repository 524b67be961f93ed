/** Tokens of SoftHSM in a directory of their own. */
import {
  type ChildProcess,
  execFileSync,
  type StdioOptions,
  spawn,
  spawnSync,
} from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOf, type ErrorCode, type KekProvider, type WrapBinding } from '@raftseal/interface';
import { afterAll, beforeAll, expect } from 'vitest';
import { type Attribute, template } from '../src/token/attributes.ts';
import { logIn } from '../src/token/login.ts';
import { Pkcs11Module } from '../src/token/module.ts';
import { NULL } from '../src/token/native-memory.ts';
import { findToken } from '../src/token/slots.ts';
import { CKA, CKF, CKK_AES, CKM, CKO_SECRET_KEY } from '../src/token/standard.ts';

export const PIN = '4711-test';
const SECURITY_OFFICER_PIN = '8899-test';

const modulePaths = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
  '/opt/homebrew/lib/softhsm/libsofthsm2.so',
];

/** Where the module is. Without it, tests fail here. */
function findModule(): string {
  const path = modulePaths.find(existsSync);
  if (path !== undefined && spawnSync('softhsm2-util', ['--version']).status === 0) return path;
  throw new Error(
    'expected SoftHSM 2; found none. On Debian or Ubuntu: sudo apt-get install ' +
      '--no-install-recommends softhsm2. Elsewhere: https://www.softhsm.org.',
  );
}

/** For calls that are to succeed, on a machine that does much else: only a hang takes so long. */
export const CALL_TIMEOUT_MS = 20_000;

export interface UriParts {
  readonly token?: string;
  readonly object?: string;
  readonly id?: string;
  readonly pinPath?: string;
}

export class SoftTokens {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'raftseal-pkcs11-'));
  readonly modulePath: string = findModule();
  /** What SoftHSM keeps its tokens in. */
  readonly tokens: string = join(this.directory, 'tokens');
  readonly pinPath: string = join(this.directory, 'pin');

  constructor() {
    mkdirSync(this.tokens);
    const configuration = join(this.directory, 'softhsm2.conf');
    writeFileSync(configuration, `directories.tokendir = ${this.tokens}\nlog.level = ERROR\n`);
    process.env.SOFTHSM2_CONF = configuration;
    this.writePin(PIN);
  }

  writePin(pin: string, path: string = this.pinPath): void {
    writeFileSync(path, `${pin}\n`, { mode: 0o600 });
  }

  makeToken(label: string, pin: string = PIN): void {
    const pins = ['--so-pin', SECURITY_OFFICER_PIN, '--pin', pin];
    softhsm(['--init-token', '--free', '--label', label, ...pins]);
  }

  deleteToken(serial: string): void {
    softhsm(['--delete-token', '--serial', serial]);
  }

  /** Serial numbers of the tokens of that label. */
  serials(label: string): string[] {
    const slots = softhsm(['--show-slots']).split(/^Slot /m);
    const ofLabel = slots.filter((slot) => new RegExp(`Label: +${label}\\s`).test(slot));
    return ofLabel.flatMap((slot) => /Serial number: +(\w+)/.exec(slot)?.[1] ?? []);
  }

  /** Imports an AES key, whose bytes the test then knows. */
  importKey(token: string, object: string, key: Uint8Array): void {
    const path = join(this.directory, 'aes');
    writeFileSync(path, key, { mode: 0o600 });
    const names = ['--label', object, '--id', randomBytes(4).toString('hex')];
    softhsm(['--import', path, '--aes', '--token', token, '--pin', PIN, ...names]);
  }

  /** Imports an RSA private key, PKCS #8 in PEM. */
  importPrivateKey(token: string, object: string, pem: string): void {
    const path = join(this.directory, 'private.pem');
    writeFileSync(path, pem, { mode: 0o600 });
    const key = ['--label', object, '--id', '01'];
    softhsm(['--import', path, '--token', token, '--pin', PIN, ...key]);
  }

  uri({ token = 'raftseal', object, id, pinPath = this.pinPath }: UriParts): string {
    const key = object === undefined ? `id=${id}` : `object=${object}${id ? `;id=${id}` : ''}`;
    return `pkcs11:token=${token};${key}?module-path=${this.modulePath}&pin-source=file:${pinPath}`;
  }

  /** Generates a key with attributes that `createPkcs11Key` would not give it. */
  async generateKey(
    token: string,
    object: string,
    changes: readonly Attribute[],
    mechanismType: number = CKM.aesKeyGen,
  ): Promise<void> {
    const named: readonly Attribute[] = [[CKA.label, Buffer.from(object)], ...changes];
    const attributes = new Map([...usualAttributes, ...named].map((each) => [each[0], each]));
    await this.inSession(token, async (module, session) => {
      const mechanism = module.memory.struct(mechanismType, NULL, 0).address;
      const { address } = template(module.memory, [...attributes.values()]);
      const handle = module.memory.struct(0).address;
      await module.run('C_GenerateKey', session, mechanism, address, attributes.size, handle);
    });
  }

  /** Runs `body` in a session of this process that may write. */
  async inSession<Result>(
    token: string,
    body: (module: Pkcs11Module, session: number) => Promise<Result>,
  ): Promise<Result> {
    const module = new Pkcs11Module(this.modulePath);
    await module.initialize(this.modulePath);
    try {
      const { slot, flags } = await findToken(module, { token });
      const handle = module.memory.struct(0);
      const wanted = CKF.serialSession | CKF.readWriteSession;
      await module.run('C_OpenSession', slot, wanted, NULL, NULL, handle.address);
      const session = module.memory.readUlong(handle);
      await logIn(module, { session, flags, pin: Buffer.from(PIN) });
      return await body(module, session);
    } finally {
      await module.call('C_Finalize', NULL);
    }
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const usualAttributes: readonly Attribute[] = [
  [CKA.class, CKO_SECRET_KEY],
  [CKA.keyType, CKK_AES],
  [CKA.valueLength, 32],
  [CKA.token, true],
  [CKA.private, true],
  [CKA.sensitive, true],
  [CKA.extractable, false],
  [CKA.encrypt, true],
  [CKA.decrypt, true],
];

/** Tokens for the tests of one file, the token `raftseal` among them. */
export function useSoftTokens(): () => SoftTokens {
  let tokens: SoftTokens | undefined;
  beforeAll(() => {
    tokens = new SoftTokens();
    tokens.makeToken('raftseal');
  });
  afterAll(() => tokens?.remove());
  return () => {
    if (tokens === undefined) throw new Error('the tokens are made before all tests');
    return tokens;
  };
}

function softhsm(args: readonly string[]): string {
  const stdio: StdioOptions = ['ignore', 'pipe', 'pipe'];
  return execFileSync('softhsm2-util', args, { stdio, encoding: 'utf8' });
}

/** Ids of this process's children that run the token process. */
export function tokenProcesses(): number[] {
  const tasks = `/proc/${process.pid}/task`;
  return readdirSync(tasks)
    .flatMap((task) =>
      readFileSync(join(tasks, task, 'children'), 'utf8')
        .trim()
        .split(' '),
    )
    .map(Number)
    .filter(isTokenProcess);
}

/** Waits for so many; one that was killed is there until it is reaped. */
export async function untilProcesses(count: number): Promise<number[]> {
  for (;;) {
    const pids = tokenProcesses();
    if (pids.length === count) return pids;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function isTokenProcess(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('token-process.js');
  } catch {
    return false;
  }
}

/** Starts a program of an ES module's text; resolves to the child and the number it writes. */
export async function startProgram(
  text: string,
): Promise<{ readonly child: ChildProcess; readonly written: number }> {
  const args = ['--input-type=module', '--eval', text];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise<string>((resolve) => {
    child.stdout.once('data', (bytes: Buffer) => resolve(bytes.toString()));
  });
  return { child, written: Number(line.trim()) };
}

/** Resolves once a token process has ended; the test's own time-out bounds it. */
export async function untilEnded(pid: number): Promise<void> {
  while (isTokenProcess(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Calls `wrapKey` until the token is open again; the test's own time-out bounds it. */
export async function untilAvailable(kek: KekProvider): Promise<void> {
  for (;;) {
    const code = await kek.wrapKey(randomBytes(32), newBinding()).then(() => undefined, codeOf);
    if (code === undefined) return;
    expect(code).toBe('RAFTSEAL_KEK_UNAVAILABLE');
  }
}

export function newBinding(): WrapBinding {
  return { clusterId: randomBytes(16), dekId: 7, purpose: 'raft' };
}

/** The message of a call that is to be refused with `code`. */
export async function refusal(code: ErrorCode, call: Promise<unknown>): Promise<string> {
  const error: unknown = await call.then(
    () => undefined,
    (refused: unknown) => refused,
  );
  expect(error).toMatchObject({ code });
  return (error as Error).message;
}
