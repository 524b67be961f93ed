/** The filters of `CLIENT KILL <option> <value> ...`. */
import type { ByteString } from '@raftseal/interface';
import type { Client } from '../client.ts';
import { integerOf, syntaxError } from '../reply-texts.ts';

export interface ClientFilters {
  id?: number;
  remote?: ByteString;
  local?: ByteString;
  /** True where the filters name a kind of client that this server has none of. */
  matchesNone?: true;
  skipsCaller: boolean;
}

const types: readonly string[] = ['normal', 'master', 'slave', 'replica', 'pubsub'];

/** Takes one option; the text of an error where it is none. */
function take(filters: ClientFilters, option: string, value: ByteString): string | undefined {
  const lower = value.toLowerCase();
  switch (option) {
    case 'id': {
      const id = integerOf(value);
      if (id === undefined) return 'ERR client-id should be greater than 0';
      if (id < 1n) return 'ERR client-id should be greater than 0';
      filters.id = Number(id);
      return undefined;
    }
    case 'type':
      if (!types.includes(lower)) return `ERR Unknown client type '${value}'`;
      if (lower !== 'normal') filters.matchesNone = true;
      return undefined;
    case 'addr':
      filters.remote = value;
      return undefined;
    case 'laddr':
      filters.local = value;
      return undefined;
    case 'user':
      return value === 'default' ? undefined : `ERR No such user '${value}'`;
    case 'skipme':
      if (lower !== 'yes' && lower !== 'no') return syntaxError;
      filters.skipsCaller = lower === 'yes';
      return undefined;
    default:
      return syntaxError;
  }
}

/** @returns the filters, or the text of the error reply. */
export function parseFilters(options: readonly ByteString[]): ClientFilters | string {
  if (options.length % 2 !== 0) return syntaxError;
  const filters: ClientFilters = { skipsCaller: true };
  for (let at = 0; at < options.length; at += 2) {
    const refusal = take(filters, options[at]?.toLowerCase() ?? '', options[at + 1] ?? '');
    if (refusal !== undefined) return refusal;
  }
  return filters;
}

export function matchesClient(filters: ClientFilters, client: Client, caller: Client): boolean {
  if (filters.matchesNone || (filters.skipsCaller && client === caller)) return false;
  return (
    (filters.id ?? client.id) === client.id &&
    (filters.remote ?? client.remote) === client.remote &&
    (filters.local ?? client.local) === client.local
  );
}
