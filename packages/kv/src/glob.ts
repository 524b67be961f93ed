/**
 * Glob patterns as Redis matches them (`stringmatchlen`): `*`, `?`, `[a-z]`, `[^a]`, `\` escapes.
 * Only the latest `*` is ever gone back to, so the time is at most pattern times text.
 */
import type { ByteString } from '@raftseal/interface';

const STAR = 42;
const QUESTION = 63;
const OPEN = 91;
const BACKSLASH = 92;
const CLOSE = 93;
const CARET = 94;
const DASH = 45;

/** Matches one char against the class at `at` (behind `[`); says where the class ends. */
function matchClass(pattern: ByteString, start: number, code: number): [boolean, number] {
  let at = start;
  const negated = pattern.charCodeAt(at) === CARET;
  if (negated) at++;
  let matched = false;
  for (;;) {
    if (at >= pattern.length) {
      at = pattern.length - 1;
      break;
    }
    const here = pattern.charCodeAt(at);
    if (here === BACKSLASH && pattern.length - at >= 2) {
      at++;
      if (pattern.charCodeAt(at) === code) matched = true;
    } else if (here === CLOSE) {
      break;
    } else if (pattern.length - at >= 3 && pattern.charCodeAt(at + 1) === DASH) {
      const last = pattern.charCodeAt(at + 2);
      at += 2;
      if (code >= Math.min(here, last) && code <= Math.max(here, last)) matched = true;
    } else if (here === code) {
      matched = true;
    }
    at++;
  }
  return [matched !== negated, at + 1];
}

/** Matches one char at the pattern's `at`; the index behind what it took, or -1. */
function matchOne(pattern: ByteString, at: number, code: number): number {
  const here = pattern.charCodeAt(at);
  if (here === QUESTION) return at + 1;
  if (here === OPEN) {
    const [matched, next] = matchClass(pattern, at + 1, code);
    return matched ? next : -1;
  }
  const literal = here === BACKSLASH && at + 1 < pattern.length ? at + 1 : at;
  return pattern.charCodeAt(literal) === code ? literal + 1 : -1;
}

export function matchesGlob(pattern: ByteString, text: ByteString): boolean {
  let at = 0;
  let position = 0;
  let starAt = -1;
  let starPosition = 0;
  while (position < text.length) {
    if (at < pattern.length && pattern.charCodeAt(at) === STAR) {
      starAt = ++at;
      starPosition = position;
      continue;
    }
    const next = at < pattern.length ? matchOne(pattern, at, text.charCodeAt(position)) : -1;
    if (next !== -1) {
      at = next;
      position++;
    } else if (starAt !== -1) {
      at = starAt;
      position = ++starPosition;
    } else {
      return false;
    }
  }
  while (at < pattern.length && pattern.charCodeAt(at) === STAR) at++;
  return at >= pattern.length;
}
