/**
 * etcd without raftseal: puts, one request each, over the gRPC client and with the channel options
 * that the engine uses. It also clears away what a run has left.
 */
import { Client, type ClientUnaryCall, credentials, Metadata } from '@grpc/grpc-js';
import { fromJSON, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';

const DEADLINE_MS = 10_000;
const CLEARED_WITHIN_MS = 60_000;

const channelOptions = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
};

/** Field numbers of etcd's `rpc.proto`. */
const messages = {
  Header: { revision: { type: 'int64', id: 3 } },
  PutRequest: { key: { type: 'bytes', id: 1 }, value: { type: 'bytes', id: 2 } },
  DeleteRangeRequest: { key: { type: 'bytes', id: 1 }, rangeEnd: { type: 'bytes', id: 2 } },
  CompactRequest: { revision: { type: 'int64', id: 1 }, physical: { type: 'bool', id: 2 } },
  Response: { header: { type: 'Header', id: 1 } },
};

const types = Object.entries(messages).map(([name, fields]) => [name, { fields }] as const);
const methods = ['Put', 'DeleteRange', 'Compact'].map((name) => {
  const method = { requestType: `${name}Request`, responseType: 'Response', comment: '' };
  return [name, method] as const;
});
const definition = fromJSON(
  {
    nested: {
      etcdserverpb: {
        nested: { ...Object.fromEntries(types), KV: { methods: Object.fromEntries(methods) } },
      },
    },
  },
  { longs: String },
);
const service = definition['etcdserverpb.KV'] as ServiceDefinition;

interface Response {
  readonly header: { readonly revision: string };
}

type Done = (error: Error | null, response?: Response) => void;

export class PlainEtcd {
  readonly #client: Client;

  constructor(endpoint: string) {
    const { host } = new URL(endpoint);
    this.#client = new Client(host, credentials.createInsecure(), channelOptions);
  }

  /** Agreed by a majority of the members, on their disks, once it is answered. */
  put(key: Uint8Array, value: Uint8Array, done: (error: Error | null) => void): void {
    this.#call('Put', { key, value }, DEADLINE_MS, done);
  }

  /** Deletes every key that begins so, and gives the space back for others. */
  async clear(prefix: string): Promise<void> {
    const key = Buffer.from(prefix);
    const rangeEnd = Buffer.from(key);
    rangeEnd[key.length - 1] = (key[key.length - 1] ?? 0) + 1;
    const { header } = await this.#ask('DeleteRange', { key, rangeEnd });
    await this.#ask('Compact', { revision: header.revision, physical: true });
  }

  close(): void {
    this.#client.close();
  }

  #ask(method: string, request: object): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#call(method, request, CLEARED_WITHIN_MS, (error, response) =>
        response ? resolve(response) : reject(error),
      );
    });
  }

  #call(method: string, request: object, timeoutMs: number, done: Done): ClientUnaryCall {
    const definition = service[method] as MethodDefinition<object, Response>;
    const { path, requestSerialize, responseDeserialize } = definition;
    const options = { deadline: Date.now() + timeoutMs };
    return this.#client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new Metadata(),
      options,
      done,
    );
  }
}
