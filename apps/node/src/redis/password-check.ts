/** Compares passwords in a time that does not depend on where they differ. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { ByteString } from '@raftseal/interface';

export interface PasswordCheck {
  matches(user: ByteString, password: ByteString): boolean;
}

/** The one user there is, as in Redis without ACLs. */
const USER = 'default';

/** Only a keyed digest of the password is kept. */
export function passwordCheck(expected: ByteString): PasswordCheck {
  const key = randomBytes(32);
  const digest = (text: ByteString): Buffer =>
    createHmac('sha256', key).update(Buffer.from(text, 'latin1')).digest();
  const expectedDigest = digest(expected);
  return {
    matches: (user, password) => {
      const matches = timingSafeEqual(digest(password), expectedDigest);
      return matches && user === USER;
    },
  };
}
