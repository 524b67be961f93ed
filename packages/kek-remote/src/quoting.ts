const LONGEST = 200;

/**
 * A service's own words, fit for an error message: one line, short, and without what must not be
 * shown. A proxy may answer with the request it got.
 * @param withheld texts that were sent, such as a token or a DEK in base64.
 */
export function quoted(text: string, withheld: readonly string[] = []): string {
  if (withheld.some((secret) => secret !== '' && text.includes(secret))) {
    return 'an answer that repeats what was sent, which is not shown here';
  }
  const line = text.replace(/[\p{C}\s]+/gu, ' ').trim();
  return line.length > LONGEST ? `${line.slice(0, LONGEST)}...` : line;
}
