import { kekProviderSuite } from '@raftseal/compliance';
import { beforeAll, describe, it } from 'vitest';
import { createPkcs11Key, kekFromPkcs11 } from '../src/index.ts';
import { CALL_TIMEOUT_MS, useSoftTokens } from './soft-token.ts';

const tokens = useSoftTokens();
const uri = (object: string): string => tokens().uri({ object });

beforeAll(async () => {
  await createPkcs11Key({ uri: uri('one') });
  await createPkcs11Key({ uri: uri('other') });
});

kekProviderSuite(
  { describe, it },
  {
    name: 'kek-pkcs11',
    create: () => kekFromPkcs11({ uri: uri('one'), callTimeoutMs: CALL_TIMEOUT_MS }),
    createOther: () => kekFromPkcs11({ uri: uri('other'), callTimeoutMs: CALL_TIMEOUT_MS }),
  },
);
