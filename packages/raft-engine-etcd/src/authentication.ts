/** The token that etcd gives for a name and a password, asked for when there is none. */
import { CallError, kindOf } from './call-error.ts';
import { reasonOf } from './errors.ts';

export class Authentication {
  readonly #authenticate: (place: number) => Promise<string>;
  #token: Promise<string> | undefined;
  #known: string | undefined;

  /** @param authenticate asks the member at a place for a token. */
  constructor(authenticate: (place: number) => Promise<string>) {
    this.#authenticate = authenticate;
  }

  /** Empty where etcd does not authenticate. @throws CallError */
  token(place: number): Promise<string> {
    this.#token ??= this.#ask(place);
    return this.#token;
  }

  /** etcd refused this token. */
  forget(token: string): void {
    if (this.#known === token) this.#token = undefined;
  }

  async #ask(place: number): Promise<string> {
    try {
      this.#known = await this.#authenticate(place);
    } catch (error) {
      if (kindOf(error) !== 'authOff') {
        this.#token = undefined;
        throw kindOf(error) === 'rejected' ? new CallError('denied', reasonOf(error)) : error;
      }
      this.#known = '';
    }
    return this.#known;
  }
}
