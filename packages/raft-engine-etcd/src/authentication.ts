/** The token that etcd gives for a name and a password, asked for when there is none. */
import { CallError, kindOf } from './call-error.ts';
import { reasonOf } from './errors.ts';

interface Asked {
  readonly token: Promise<string>;
  /** Once it has come. */
  value: string | undefined;
}

export class Authentication {
  readonly #authenticate: (place: number) => Promise<string>;
  #asked: Asked | undefined;

  /** @param authenticate asks the member at a place for a token. */
  constructor(authenticate: (place: number) => Promise<string>) {
    this.#authenticate = authenticate;
  }

  /** Empty where etcd does not authenticate. @throws CallError */
  token(place: number): Promise<string> {
    this.#asked ??= this.#ask(place);
    return this.#asked.token;
  }

  /** etcd refused this token. */
  forget(token: string): void {
    if (this.#asked?.value === token) this.#asked = undefined;
  }

  #ask(place: number): Asked {
    const come = async (): Promise<string> => {
      try {
        asked.value = await this.#authenticate(place);
      } catch (error) {
        if (kindOf(error) !== 'authOff') {
          if (this.#asked === asked) this.#asked = undefined;
          throw kindOf(error) === 'rejected' ? new CallError('denied', reasonOf(error)) : error;
        }
        asked.value = '';
      }
      return asked.value;
    };
    const asked: Asked = { token: Promise.resolve().then(come), value: undefined };
    return asked;
  }
}
