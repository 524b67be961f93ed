/**
 * Times to live. A relative time is resolved against the leader's clock as the entry carries it.
 * Times beyond 2^53 ms are kept to the nearest double.
 */
import { errorReply, type Reply } from '@raftseal/interface';
import { INT64_MAX, INT64_MIN, parseInt64 } from '../integer.ts';
import { type KeyEntry, NO_EXPIRY } from '../key-entry.ts';
import { invalidExpireTime, notAnInteger } from '../replies.ts';
import { type Arguments, at, type Handler } from './handler.ts';

interface Condition {
  nx: boolean;
  xx: boolean;
  gt: boolean;
  lt: boolean;
}

function parseCondition(args: Arguments): Condition | { refused: Reply } {
  const condition: Condition = { nx: false, xx: false, gt: false, lt: false };
  for (let i = 3; i < args.length; i++) {
    const word = at(args, i);
    const flag = word.toLowerCase();
    if (flag !== 'nx' && flag !== 'xx' && flag !== 'gt' && flag !== 'lt') {
      return { refused: errorReply(`ERR Unsupported option ${word}`) };
    }
    condition[flag] = true;
  }
  const { nx, xx, gt, lt } = condition;
  if (nx && (xx || gt || lt)) {
    return {
      refused: errorReply('ERR NX and XX, GT or LT options at the same time are not compatible'),
    };
  }
  if (gt && lt) {
    return { refused: errorReply('ERR GT and LT options at the same time are not compatible') };
  }
  return condition;
}

/** Whether the condition lets the time be set; an absent expiry is later than every time. */
function allows(condition: Condition, current: number, next: number): boolean {
  const set = current !== NO_EXPIRY;
  if (condition.nx && set) return false;
  if (condition.xx && !set) return false;
  if (condition.gt && (!set || next <= current)) return false;
  return !(condition.lt && set && next >= current);
}

function expireCommand(name: string, unitMs: bigint, relative: boolean): Handler {
  return (keyspace, args) => {
    const condition = parseCondition(args);
    if ('refused' in condition) return condition.refused;
    const value = parseInt64(at(args, 2));
    if (value === undefined) return notAnInteger;
    if (value > INT64_MAX / unitMs || value < INT64_MIN / unitMs) return invalidExpireTime(name);
    const base = relative ? BigInt(keyspace.nowMs) : 0n;
    if (value * unitMs > INT64_MAX - base) return invalidExpireTime(name);
    const expireAtMs = Number(value * unitMs + base);
    const entry = keyspace.find(at(args, 1));
    if (entry === undefined || !allows(condition, entry.expireAtMs, expireAtMs)) return 0;
    if (expireAtMs <= keyspace.nowMs) keyspace.remove(entry);
    else keyspace.setExpiry(entry, expireAtMs);
    return 1;
  };
}

/** -2 for an absent key, -1 for one that does not expire, else what `answer` makes of it. */
function timeCommand(answer: (entry: KeyEntry, nowMs: number) => number): Handler {
  return (keyspace, args) => {
    const entry = keyspace.find(at(args, 1));
    if (entry === undefined) return -2;
    if (entry.expireAtMs === NO_EXPIRY) return -1;
    const time = answer(entry, keyspace.nowMs);
    return Number.isSafeInteger(time) ? time : BigInt(time);
  };
}

function inSeconds(ms: number): number {
  return Math.floor((ms + 500) / 1000);
}

export const expiryHandlers: Readonly<Record<string, Handler>> = {
  expire: expireCommand('expire', 1000n, true),
  pexpire: expireCommand('pexpire', 1n, true),
  expireat: expireCommand('expireat', 1000n, false),
  pexpireat: expireCommand('pexpireat', 1n, false),
  ttl: timeCommand((entry, nowMs) => inSeconds(entry.expireAtMs - nowMs)),
  pttl: timeCommand((entry, nowMs) => entry.expireAtMs - nowMs),
  expiretime: timeCommand((entry) => inSeconds(entry.expireAtMs)),
  pexpiretime: timeCommand((entry) => entry.expireAtMs),
  persist: (keyspace, args) => {
    const entry = keyspace.find(at(args, 1));
    if (entry === undefined || entry.expireAtMs === NO_EXPIRY) return 0;
    keyspace.setExpiry(entry, NO_EXPIRY);
    return 1;
  },
};
