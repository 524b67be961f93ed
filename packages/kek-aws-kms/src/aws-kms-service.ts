/**
 * `Encrypt` and `Decrypt` of AWS KMS with an encryption context
 * (https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html). A wrap is KMS's own
 * ciphertext blob. The SDK signs, and repeats throttled and failed requests by itself.
 *
 * `Decrypt` names the key, always: without, KMS would use any key that the blob names and that the
 * caller may use, such as one of whoever put the blob there.
 */
import {
  DecryptCommand,
  DescribeKeyCommand,
  EncryptCommand,
  type KeyMetadata,
  KMSClient,
} from '@aws-sdk/client-kms';
import type { WrapBinding } from '@raftseal/interface';
import {
  base64Of,
  DoesNotOpen,
  type KekCall,
  type KekService,
  kekDisabled,
  kekUnavailable,
  kekUnfit,
  type WrapPlace,
} from '@raftseal/kek-remote';
import type { AwsKeyName } from './aws-kms-uri.ts';
import { foundIn, refusalOf } from './refusals.ts';

/** Of the SDK, with its waits between them, unless the time of the call is over before. */
const ATTEMPTS_MAX = 5;

const EXPECTED = 'a key of the spec SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT';

/** An `Updating` key changes its primary region, and works meanwhile. */
const usableStates: readonly (string | undefined)[] = ['Enabled', 'Updating'];

const quiet = (): void => undefined;
const silentLogger = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet };

export interface AwsKmsServiceOptions {
  readonly key: AwsKeyName;
  /** Instead of the region's own. */
  readonly endpoint: string | undefined;
  readonly attemptMs: number;
}

export class AwsKmsService implements KekService {
  readonly #key: AwsKeyName;
  readonly #client: KMSClient;
  /** Of the key itself, also where the URI names an alias: one key for this process's life. */
  #keyArn = '';

  constructor({ key, endpoint, attemptMs }: AwsKmsServiceOptions) {
    this.#key = key;
    this.#client = new KMSClient({
      region: key.region,
      ...(endpoint !== undefined && { endpoint }),
      maxAttempts: ATTEMPTS_MAX,
      retryMode: 'standard',
      logger: silentLogger,
      requestHandler: {
        connectionTimeout: attemptMs,
        requestTimeout: attemptMs,
        throwOnRequestTimeout: true,
        logger: silentLogger,
      },
    });
  }

  async check(call: KekCall): Promise<void> {
    const command = new DescribeKeyCommand({ KeyId: this.#key.arn });
    const { KeyMetadata } = await this.#send(call, command, (options) =>
      this.#client.send(command, options),
    );
    this.#keyArn = this.#fitKey(KeyMetadata);
  }

  async wrap(dek: Uint8Array, { binding }: WrapPlace, call: KekCall): Promise<Uint8Array> {
    const command = new EncryptCommand({
      KeyId: this.#keyArn,
      Plaintext: dek,
      EncryptionContext: contextOf(binding),
    });
    const { CiphertextBlob, KeyId } = await this.#send(
      call,
      command,
      (options) => this.#client.send(command, options),
      [base64Of(dek)],
    );
    if (CiphertextBlob === undefined || KeyId !== this.#keyArn) throw this.#notKms();
    return CiphertextBlob;
  }

  async unwrap(wrapped: Uint8Array, { binding }: WrapPlace, call: KekCall): Promise<Uint8Array> {
    const command = new DecryptCommand({
      KeyId: this.#keyArn,
      CiphertextBlob: wrapped,
      EncryptionContext: contextOf(binding),
    });
    const { Plaintext, KeyId } = await this.#send(call, command, (options) =>
      this.#client.send(command, options),
    );
    if (Plaintext === undefined) throw this.#notKms();
    // In a buffer of its own: the SDK's may be a part of a larger one.
    const dek = Buffer.alloc(Plaintext.length);
    dek.set(Plaintext);
    Plaintext.fill(0);
    if (KeyId === this.#keyArn) return dek;
    dek.fill(0);
    throw new DoesNotOpen('a wrap that was opened by another key');
  }

  close(): void {
    this.#client.destroy();
  }

  #fitKey(metadata: KeyMetadata | undefined): string {
    const { kekUri } = this.#key;
    if (metadata?.Arn === undefined) throw this.#notKms();
    const { Arn, KeySpec, KeyUsage, KeyState } = metadata;
    if (KeySpec !== 'SYMMETRIC_DEFAULT' || KeyUsage !== 'ENCRYPT_DECRYPT') {
      throw kekUnfit(kekUri, EXPECTED, `one of the spec ${KeySpec} for ${KeyUsage}`);
    }
    if (!usableStates.includes(KeyState)) throw kekDisabled(kekUri, `the state ${KeyState}`);
    return Arn;
  }

  #notKms(): Error {
    return kekUnavailable(this.#key.kekUri, 'an answer that is none of AWS KMS');
  }

  /** Sends a command and turns what the SDK throws into a refusal. */
  async #send<Output>(
    call: KekCall,
    command: AttemptStack,
    send: (options: { abortSignal: AbortSignal }) => Promise<Output>,
    withheld: readonly string[] = [],
  ): Promise<Output> {
    let attempts = 0;
    command.middlewareStack.add(
      (next) => async (args) => {
        attempts += 1;
        try {
          return await next(args);
        } catch (error) {
          call.attemptFailed(foundIn(error, withheld));
          throw error;
        }
      },
      // Inside of the middleware that repeats.
      { step: 'finalizeRequest', priority: 'low', name: 'raftsealAttempts' },
    );
    try {
      return await send({ abortSignal: call.signal });
    } catch (error) {
      throw refusalOf(this.#key.kekUri, error, { attempts, withheld });
    }
  }
}

/** The part of a command that middleware is added to, whatever its input and output. */
interface AttemptStack {
  readonly middlewareStack: {
    add(
      middleware: <Args, Result>(
        next: (args: Args) => Promise<Result>,
      ) => (args: Args) => Promise<Result>,
      options: { step: 'finalizeRequest'; priority: 'low'; name: string },
    ): void;
  };
}

/** Shown in the audit log of AWS, CloudTrail: ids only. */
function contextOf({ clusterId, dekId, purpose }: WrapBinding): Record<string, string> {
  return { cluster: Buffer.from(clusterId).toString('hex'), dek: String(dekId), purpose };
}
