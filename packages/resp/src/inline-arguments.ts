/**
 * Splits an inline request (a line typed by a person) into arguments, with the quoting rules of
 * Redis: blanks separate; inside double quotes `\n \r \t \b \a \xHH` and `\<any>` are escapes;
 * inside single quotes only `\'` is; a closing quote must be followed by a blank or the end.
 */
import type { ByteString } from '@raftseal/interface';

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' };

/** What C's isspace() says in the C locale. */
function isBlank(char: string): boolean {
  return char === ' ' || (char >= '\t' && char <= '\r');
}

/** What ends an argument outside quotes: fewer characters than those that may precede one. */
function isEnd(char: string): boolean {
  return char === ' ' || char === '\t' || char === '\n' || char === '\r';
}

interface Piece {
  readonly text: string;
  /** Position after the piece. */
  readonly next: number;
}

/** Reads from after an opening double quote to after the closing one. */
function doubleQuoted(line: string, from: number): Piece | undefined {
  let text = '';
  for (let at = from; at < line.length; at++) {
    const char = line.charAt(at);
    if (char === '"') return { text, next: at + 1 };
    if (char !== '\\') {
      text += char;
      continue;
    }
    const hex = /^x([0-9a-fA-F]{2})/.exec(line.slice(at + 1, at + 4))?.[1];
    if (hex !== undefined) {
      text += String.fromCharCode(Number.parseInt(hex, 16));
      at += 3;
    } else if (at + 1 < line.length) {
      at++;
      const escaped = line.charAt(at);
      text += escapes[escaped] ?? escaped;
    }
  }
  return undefined;
}

/** Reads from after an opening single quote to after the closing one. */
function singleQuoted(line: string, from: number): Piece | undefined {
  let text = '';
  for (let at = from; at < line.length; at++) {
    const char = line.charAt(at);
    if (char === "'") return { text, next: at + 1 };
    if (char === '\\' && line.charAt(at + 1) === "'") {
      text += "'";
      at++;
    } else {
      text += char;
    }
  }
  return undefined;
}

/**
 * @param line one line without its line feed.
 * @returns the arguments, or undefined where the quotes are not balanced. Linear in the length.
 */
export function inlineArguments(line: string): ByteString[] | undefined {
  const args: ByteString[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && isBlank(line.charAt(at))) at++;
    if (at >= line.length) return args;
    let text = '';
    while (at < line.length && !isEnd(line.charAt(at))) {
      const char = line.charAt(at);
      if (char !== '"' && char !== "'") {
        text += char;
        at++;
        continue;
      }
      const piece = char === '"' ? doubleQuoted(line, at + 1) : singleQuoted(line, at + 1);
      if (piece === undefined) return undefined;
      text += piece.text;
      at = piece.next;
      if (at < line.length && !isBlank(line.charAt(at))) return undefined;
      break;
    }
    args.push(text);
  }
}
