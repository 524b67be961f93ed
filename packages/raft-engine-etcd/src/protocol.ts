/**
 * The part of etcd's gRPC interface that this package uses, with the field numbers of etcd's
 * `rpc.proto` and `kv.proto` (etcd 3.4; later versions only add to it). It is kept as text in the
 * source, so that it is there however the package is built or bundled.
 */
import {
  fromJSON,
  type MethodDefinition,
  type PackageDefinition,
  type ServiceDefinition,
} from '@grpc/proto-loader';

/** Fields as `type name number`; `type*` is repeated, and of those with `oneof` one is there. */
const messages: Readonly<Record<string, string>> = {
  ResponseHeader: 'uint64 clusterId 1, uint64 memberId 2, int64 revision 3, uint64 raftTerm 4',
  KeyValue:
    'bytes key 1, int64 createRevision 2, int64 modRevision 3, int64 version 4, bytes value 5, int64 lease 6',
  Event: 'int32 type 1, KeyValue kv 2',
  RangeRequest:
    'bytes key 1, bytes rangeEnd 2, int64 limit 3, int64 revision 4, bool keysOnly 8, bool countOnly 9',
  RangeResponse: 'ResponseHeader header 1, KeyValue* kvs 2, bool more 3, int64 count 4',
  PutRequest: 'bytes key 1, bytes value 2, int64 lease 3',
  PutResponse: 'ResponseHeader header 1',
  DeleteRangeRequest: 'bytes key 1, bytes rangeEnd 2',
  DeleteRangeResponse: 'ResponseHeader header 1, int64 deleted 2',
  RequestOp:
    'oneof RangeRequest requestRange 1, oneof PutRequest requestPut 2, oneof DeleteRangeRequest requestDeleteRange 3, oneof TxnRequest requestTxn 4',
  ResponseOp:
    'oneof RangeResponse responseRange 1, oneof PutResponse responsePut 2, oneof DeleteRangeResponse responseDeleteRange 3, oneof TxnResponse responseTxn 4',
  Compare:
    'int32 result 1, int32 target 2, bytes key 3, oneof int64 version 4, oneof int64 createRevision 5, oneof int64 modRevision 6, oneof bytes value 7, oneof int64 lease 8',
  TxnRequest: 'Compare* compare 1, RequestOp* success 2, RequestOp* failure 3',
  TxnResponse: 'ResponseHeader header 1, bool succeeded 2, ResponseOp* responses 3',
  CompactionRequest: 'int64 revision 1, bool physical 2',
  CompactionResponse: 'ResponseHeader header 1',
  WatchRequest:
    'oneof WatchCreateRequest createRequest 1, oneof WatchCancelRequest cancelRequest 2, oneof WatchProgressRequest progressRequest 3',
  WatchCreateRequest:
    'bytes key 1, bytes rangeEnd 2, int64 startRevision 3, int32* filters 5, int64 watchId 7, bool fragment 8',
  WatchCancelRequest: 'int64 watchId 1',
  WatchProgressRequest: '',
  WatchResponse:
    'ResponseHeader header 1, int64 watchId 2, bool created 3, bool canceled 4, int64 compactRevision 5, string cancelReason 6, bool fragment 7, Event* events 11',
  LeaseGrantRequest: 'int64 ttl 1, int64 id 2',
  LeaseGrantResponse: 'ResponseHeader header 1, int64 id 2, int64 ttl 3, string error 4',
  LeaseRevokeRequest: 'int64 id 1',
  LeaseRevokeResponse: 'ResponseHeader header 1',
  LeaseKeepAliveRequest: 'int64 id 1',
  LeaseKeepAliveResponse: 'ResponseHeader header 1, int64 id 2, int64 ttl 3',
  LeaseTimeToLiveRequest: 'int64 id 1, bool keys 2',
  LeaseTimeToLiveResponse: 'ResponseHeader header 1, int64 id 2, int64 ttl 3, int64 grantedTtl 4',
  AlarmRequest: 'int32 action 1, uint64 memberId 2, int32 alarm 3',
  AlarmMember: 'uint64 memberId 1, int32 alarm 2',
  AlarmResponse: 'ResponseHeader header 1, AlarmMember* alarms 2',
  StatusRequest: '',
  StatusResponse:
    'ResponseHeader header 1, string version 2, int64 dbSize 3, string* errors 8, int64 dbSizeInUse 9',
  DefragmentRequest: '',
  DefragmentResponse: 'ResponseHeader header 1',
  AuthenticateRequest: 'string name 1, string password 2',
  AuthenticateResponse: 'ResponseHeader header 1, string token 2',
};

/** Request and response of each method; `stream` marks one that streams both ways. */
const services: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  KV: {
    Range: 'RangeRequest RangeResponse',
    DeleteRange: 'DeleteRangeRequest DeleteRangeResponse',
    Txn: 'TxnRequest TxnResponse',
    Compact: 'CompactionRequest CompactionResponse',
  },
  Watch: { Watch: 'WatchRequest WatchResponse stream' },
  Lease: {
    LeaseGrant: 'LeaseGrantRequest LeaseGrantResponse',
    LeaseRevoke: 'LeaseRevokeRequest LeaseRevokeResponse',
    LeaseKeepAlive: 'LeaseKeepAliveRequest LeaseKeepAliveResponse stream',
    LeaseTimeToLive: 'LeaseTimeToLiveRequest LeaseTimeToLiveResponse',
  },
  Maintenance: {
    Alarm: 'AlarmRequest AlarmResponse',
    Status: 'StatusRequest StatusResponse',
    Defragment: 'DefragmentRequest DefragmentResponse',
  },
  Auth: { Authenticate: 'AuthenticateRequest AuthenticateResponse' },
};

export type Method = MethodDefinition<object, object>;

/** 64-bit integers arrive as decimal strings: a number cannot hold them all. */
const definition: PackageDefinition = fromJSON(
  { nested: { etcdserverpb: { nested: { ...messageTypes(), ...serviceTypes() } } } },
  { longs: String, defaults: true, arrays: true },
);

/** @param name such as `KV.Range`. */
export function methodOf(name: string): Method {
  const [service = '', method = ''] = name.split('.');
  const found = (definition[`etcdserverpb.${service}`] as ServiceDefinition | undefined)?.[method];
  if (found === undefined) throw new Error(`no method ${name}`);
  return found;
}

function messageTypes() {
  return Object.fromEntries(
    Object.entries(messages).map(([message, text]) => {
      const texts = text === '' ? [] : text.split(', ');
      const fields = Object.fromEntries(texts.map(fieldOf));
      const oneof = texts.filter(isOneof).map((each) => fieldOf(each)[0]);
      return [message, oneof.length === 0 ? { fields } : { fields, oneofs: { kind: { oneof } } }];
    }),
  );
}

function isOneof(text: string): boolean {
  return text.startsWith('oneof ');
}

function fieldOf(text: string) {
  const [type = '', name = '', id = ''] = text.replace('oneof ', '').split(' ');
  const isRepeated = type.endsWith('*');
  const field = { type: isRepeated ? type.slice(0, -1) : type, id: Number(id) };
  return [name, isRepeated ? { rule: 'repeated', ...field } : field] as const;
}

function serviceTypes() {
  return Object.fromEntries(
    Object.entries(services).map(([service, methods]) => {
      const entries = Object.entries(methods).map(([method, text]) => {
        const [requestType = '', responseType = '', stream] = text.split(' ');
        const isStream = stream !== undefined;
        const streams = { requestStream: isStream, responseStream: isStream };
        return [method, { requestType, responseType, ...streams }];
      });
      return [service, { methods: Object.fromEntries(entries) }];
    }),
  );
}
