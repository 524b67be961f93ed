/**
 * The token that this process shows to Vault: `VAULT_TOKEN`, else the file that `VAULT_TOKEN_FILE`
 * names, else `~/.vault-token`. A file may be replaced while the process runs, by a Vault Agent or
 * by an operator: it is read again when Vault refuses the token.
 */
import { constants, open } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { codeOf } from '@raftseal/interface';
import { kekCredentials } from '@raftseal/kek-remote';

const EXPECTED = 'a token in VAULT_TOKEN, in the file of VAULT_TOKEN_FILE or in ~/.vault-token';

/** Vault's own are some hundred bytes long. */
const TOKEN_BYTES_MAX = 8_192;

// A FIFO is refused, not waited for. Windows has none, and no such flag.
const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** Visible characters only: others would end the header line or be changed on the way. */
const TOKEN = /^[\x21-\x7e]+$/;

export type Environment = Readonly<Record<string, string | undefined>>;

export class VaultToken {
  readonly #kekUri: string;
  readonly #file: string | undefined;
  #text: string;

  private constructor(kekUri: string, text: string, file: string | undefined) {
    this.#kekUri = kekUri;
    this.#text = text;
    this.#file = file;
  }

  /** @throws RAFTSEAL_KEK_CREDENTIALS */
  static async find(kekUri: string, env: Environment): Promise<VaultToken> {
    const { VAULT_TOKEN: text, VAULT_TOKEN_FILE: named } = env;
    if (text) {
      return new VaultToken(kekUri, checkedToken(kekUri, text, 'VAULT_TOKEN'), undefined);
    }
    const file = named || join(env.HOME || homedir(), '.vault-token');
    return new VaultToken(kekUri, await readToken(kekUri, file), file);
  }

  get text(): string {
    return this.#text;
  }

  /**
   * Reads the file again after Vault refused `refused`.
   * @returns whether there is another token now.
   * @throws RAFTSEAL_KEK_CREDENTIALS
   */
  async isReplaced(refused: string): Promise<boolean> {
    if (this.#file !== undefined) this.#text = await readToken(this.#kekUri, this.#file);
    return this.#text !== refused;
  }
}

async function readToken(kekUri: string, path: string): Promise<string> {
  const content = Buffer.alloc(TOKEN_BYTES_MAX + 1);
  try {
    const handle = await open(path, flags);
    try {
      const { bytesRead } = await handle.read(content, 0, content.length, 0);
      if (bytesRead > TOKEN_BYTES_MAX)
        throw kekCredentials(kekUri, EXPECTED, `a large file, ${path}`);
      return checkedToken(kekUri, content.toString('latin1', 0, bytesRead).trim(), path);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (codeOf(error)?.startsWith('RAFTSEAL_')) throw error;
    throw kekCredentials(kekUri, EXPECTED, `${path} unreadable (${codeOf(error) ?? 'an error'})`);
  } finally {
    content.fill(0);
  }
}

function checkedToken(kekUri: string, text: string, place: string): string {
  if (TOKEN.test(text)) return text;
  const found = text === '' ? 'nothing' : 'white space or characters that no token has';
  throw kekCredentials(kekUri, EXPECTED, `${found} in ${place}`);
}
