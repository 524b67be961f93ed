/**
 * Redis' glob patterns over short texts (names of commands and parameters): `*`, `?`, `[a-z]`,
 * `[^a]` and `\` to quote. Keys are matched by the store.
 */

interface Class {
  readonly matches: boolean;
  /** Position after the closing bracket. */
  readonly next: number;
}

/** Matches a character against the class that opens at `from`. */
function matchClass(pattern: string, from: number, char: string): Class {
  let at = from + 1;
  const negated = pattern.charAt(at) === '^';
  if (negated) at++;
  let found = false;
  for (; at < pattern.length && pattern.charAt(at) !== ']'; at++) {
    if (pattern.charAt(at) === '\\' && at + 1 < pattern.length) at++;
    let [low, high] = [pattern.charAt(at), pattern.charAt(at)];
    if (pattern.charAt(at + 1) === '-' && at + 2 < pattern.length) {
      high = pattern.charAt(at + 2);
      at += 2;
    }
    if (low > high) [low, high] = [high, low];
    if (char >= low && char <= high) found = true;
  }
  return { matches: found !== negated, next: at + 1 };
}

/** Matches all but `*` at a position of the pattern; -1, or the position after what matched. */
function matchOne(pattern: string, at: number, char: string): number {
  const own = pattern.charAt(at);
  if (own === '?') return at + 1;
  if (own === '[') {
    const { matches, next } = matchClass(pattern, at, char);
    return matches ? next : -1;
  }
  if (own === '\\' && at + 1 < pattern.length) return pattern.charAt(at + 1) === char ? at + 2 : -1;
  return own === char ? at + 1 : -1;
}

/** Takes time in the product of the lengths at most: only the latest `*` is ever gone back to. */
export function matchesGlob(pattern: string, text: string): boolean {
  let at = 0;
  let star = -1;
  let starText = 0;
  for (let position = 0; position < text.length; ) {
    if (pattern.charAt(at) === '*') {
      star = at++;
      starText = position;
      continue;
    }
    const next = at < pattern.length ? matchOne(pattern, at, text.charAt(position)) : -1;
    if (next >= 0) {
      at = next;
      position++;
    } else if (star >= 0) {
      at = star + 1;
      position = ++starText;
    } else {
      return false;
    }
  }
  while (pattern.charAt(at) === '*') at++;
  return at === pattern.length;
}
