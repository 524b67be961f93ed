/** Messages of etcd's interface as they are here: 64-bit integers are decimal strings. */

export interface Header {
  readonly revision: string;
  readonly raftTerm: string;
}

export interface KeyValue {
  readonly key: Buffer;
  readonly createRevision: string;
  readonly modRevision: string;
  readonly version: string;
  readonly value: Buffer;
  readonly lease: string;
}

export interface RangeRequest {
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  readonly limit?: number;
  /** Reads at this revision; without it, at the latest. */
  readonly revision?: string;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
}

export interface RangeResponse {
  readonly header: Header;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
  readonly count: string;
}

export interface PutRequest {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly lease?: string;
}

export interface DeleteRangeRequest {
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
}

export type RequestOp =
  | { readonly requestRange: RangeRequest }
  | { readonly requestPut: PutRequest }
  | { readonly requestDeleteRange: DeleteRangeRequest }
  | { readonly requestTxn: TxnRequest };

/** What answers the operation in the same place. */
export interface ResponseOp {
  readonly responseRange?: RangeResponse;
  readonly responseTxn?: TxnResponse;
}

export const compareResult = { equal: 0, greater: 1, less: 2, notEqual: 3 } as const;
export const compareTarget = { version: 0, create: 1, mod: 2, value: 3, lease: 4 } as const;

export interface Compare {
  readonly result: number;
  readonly target: number;
  readonly key: Uint8Array;
  readonly version?: number;
  readonly createRevision?: string;
  readonly modRevision?: string;
  readonly value?: Uint8Array;
}

export interface TxnRequest {
  readonly compare?: readonly Compare[];
  readonly success: readonly RequestOp[];
  readonly failure?: readonly RequestOp[];
}

export interface TxnResponse {
  readonly header: Header;
  readonly succeeded: boolean;
  readonly responses: readonly ResponseOp[];
}

export const eventType = { put: 0, delete: 1 } as const;

export interface Event {
  readonly type: number;
  readonly kv: KeyValue;
}

export const watchFilter = { noDelete: 1 } as const;

export type WatchRequest =
  | {
      readonly createRequest: {
        readonly key: Uint8Array;
        readonly rangeEnd: Uint8Array;
        readonly startRevision: string;
        readonly filters: readonly number[];
        readonly watchId: number;
        readonly fragment: boolean;
      };
    }
  | { readonly cancelRequest: { readonly watchId: number } }
  | { readonly progressRequest: Record<string, never> };

export interface WatchResponse {
  readonly watchId: string;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly compactRevision: string;
  readonly cancelReason: string;
  /** The rest of the last change follows in the next response. */
  readonly fragment: boolean;
  readonly events: readonly Event[];
}

interface Lease {
  readonly header: Header;
  readonly id: string;
  /** Seconds; 0 or less for a lease that is gone. */
  readonly ttl: string;
}

export const alarmAction = { get: 0, deactivate: 2 } as const;
export const NO_SPACE_ALARM = 1;

interface Alarm {
  readonly memberId: string;
  readonly alarm: number;
}

/** Request and response of each method that is answered once. */
export interface UnaryMethods {
  'KV.Range': [RangeRequest, RangeResponse];
  'KV.DeleteRange': [DeleteRangeRequest, { readonly header: Header }];
  'KV.Txn': [TxnRequest, TxnResponse];
  'KV.Compact': [{ readonly revision: string }, { readonly header: Header }];
  'Lease.LeaseGrant': [{ readonly ttl: number }, Lease];
  'Lease.LeaseRevoke': [{ readonly id: string }, { readonly header: Header }];
  'Lease.LeaseKeepAlive': [{ readonly id: string }, Lease];
  'Lease.LeaseTimeToLive': [{ readonly id: string }, Lease & { readonly grantedTtl: string }];
  'Maintenance.Alarm': [
    Alarm & { readonly action: number },
    { readonly header: Header; readonly alarms: readonly Alarm[] },
  ];
  'Maintenance.Status': [
    Record<string, never>,
    {
      readonly header: Header;
      readonly version: string;
      readonly dbSize: string;
      readonly dbSizeInUse: string;
      readonly errors: readonly string[];
    },
  ];
  'Maintenance.Defragment': [Record<string, never>, { readonly header: Header }];
  'Auth.Authenticate': [
    { readonly name: string; readonly password: string },
    { readonly token: string },
  ];
}

export type UnaryMethod = keyof UnaryMethods;
