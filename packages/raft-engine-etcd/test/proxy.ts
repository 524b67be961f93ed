/**
 * A proxy before one etcd member, for what a network does to calls at the wrong moment, and for
 * requests that a faulty client would send: a test can look at each call, change it, keep its
 * answer, or answer itself.
 */
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import type { TxnRequest } from '../src/messages.ts';
import { methodOf } from '../src/protocol.ts';

const methods = [
  'KV.Range',
  'KV.DeleteRange',
  'KV.Txn',
  'KV.Compact',
  'Watch.Watch',
  'Lease.LeaseGrant',
  'Lease.LeaseRevoke',
  'Lease.LeaseKeepAlive',
  'Lease.LeaseTimeToLive',
  'Maintenance.Alarm',
  'Maintenance.Status',
  'Maintenance.Defragment',
  'Auth.Authenticate',
];

export type Forward = (request: object) => Promise<object>;

/** Answers a call of a method that is answered once. */
export type Intercept = (method: string, request: object, forward: Forward) => Promise<object>;

export interface CallProxy {
  readonly endpoint: string;
  /** Undefined: everything goes through as it is. */
  intercept: Intercept | undefined;
  close(): void;
}

export async function startProxy(memberEndpoint: string): Promise<CallProxy> {
  const client = new Client(new URL(memberEndpoint).host, credentials.createInsecure());
  const server = new Server();
  const proxy: { intercept: Intercept | undefined } = { intercept: undefined };
  for (const service of ['KV', 'Watch', 'Lease', 'Maintenance', 'Auth']) {
    const names = methods.filter((name) => name.startsWith(`${service}.`));
    const definition = Object.fromEntries(names.map((name) => [name, methodOf(name)]));
    const implementation = Object.fromEntries(
      names.map((name) => [name, handlerOf(name, client, proxy)]),
    );
    server.addService(definition, implementation);
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return Object.assign(proxy, {
    endpoint: `http://127.0.0.1:${port}`,
    close: () => {
      server.forceShutdown();
      client.close();
    },
  });
}

function handlerOf(name: string, client: Client, proxy: { intercept: Intercept | undefined }) {
  const { path, requestSerialize, responseDeserialize, requestStream } = methodOf(name);
  if (requestStream) {
    return (incoming: ServerDuplexStream<object, object>) => {
      const outgoing = client.makeBidiStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        incoming.metadata,
      );
      incoming.on('data', (request: object) => outgoing.write(request));
      incoming.on('end', () => outgoing.end());
      incoming.on('cancelled', () => outgoing.cancel());
      outgoing.on('data', (response: object) => incoming.write(response));
      outgoing.on('error', (error) => incoming.destroy(error));
      outgoing.on('end', () => incoming.end());
    };
  }
  return (call: ServerUnaryCall<object, object>, done: sendUnaryData<object>) => {
    const forward: Forward = (request) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          withoutEmptyBytes(request),
          new Metadata(),
          (error, response) => {
            if (error === null && response !== undefined) resolve(response);
            else reject(error);
          },
        );
      });
    const answer = proxy.intercept?.(name, call.request, forward) ?? forward(call.request);
    answer.then(
      (response) => done(null, response),
      (error: ServiceError) => done({ code: error.code, details: error.details }),
    );
  };
}

/** To etcd, an empty end of a range is not the same as none. */
function withoutEmptyBytes(message: object): object {
  if (Array.isArray(message)) return message.map(withoutEmptyBytes);
  const isKept = ([, value]: [string, unknown]) => !Buffer.isBuffer(value) || value.length > 0;
  const fields = Object.entries(message).filter(isKept);
  return Object.fromEntries(
    fields.map(([name, value]) => {
      const isMessage = typeof value === 'object' && value !== null && !Buffer.isBuffer(value);
      return [name, isMessage ? withoutEmptyBytes(value) : value];
    }),
  );
}

/** The answer, or its loss, that tells the client nothing. */
export function lost(): object {
  return Object.assign(new Error('lost'), { code: status.UNAVAILABLE, details: 'it was lost' });
}

/** Whether a call is a group of appends. */
export function isAppend(method: string, request: object): request is TxnRequest {
  return method === 'KV.Txn' && 'requestTxn' in ((request as TxnRequest).success[0] ?? {});
}

/** Whether a call is an election. */
export function isElection(method: string, request: object): request is TxnRequest {
  const [op] = method === 'KV.Txn' ? (request as TxnRequest).success : [];
  return (
    op !== undefined && 'requestPut' in op && Buffer.from(op.requestPut.key).includes('/leaders/')
  );
}
