import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LocalHttp } from '../src/index.ts';
import { signatureFault } from '../src/signature-v4.ts';

describe('LocalHttp', () => {
  let http: LocalHttp;
  beforeEach(async () => {
    http = await LocalHttp.start(({ path }) => ({ status: 200, body: { path } }));
  });
  afterEach(() => http.close());

  const get = async (path: string) => await (await fetch(http.origin + path)).json();

  it('lets the chosen requests fail, as often as asked for', async () => {
    http.failNext({ kind: 'answer', answer: { status: 503, body: 'busy' } }, { on: /GET \/a/ });
    http.failNext({ kind: 'reset' }, { times: 2, on: /\/a/ });
    expect(await get('/b')).toEqual({ path: '/b' });
    expect((await fetch(`${http.origin}/a`)).status).toBe(503);
    await expect(get('/a')).rejects.toThrow();
    await expect(get('/a')).rejects.toThrow();
    expect(await get('/a')).toEqual({ path: '/a' });
    expect(http.requests.map(({ path }) => path)).toEqual(['/b', '/a', '/a', '/a', '/a']);
  });

  it('sends half an answer, nothing at all, or a changed one', async () => {
    http.failNext({ kind: 'half' });
    await expect(get('/')).rejects.toThrow();
    http.failNext({ kind: 'silence' });
    await expect(fetch(http.origin, { signal: AbortSignal.timeout(100) })).rejects.toThrow();
    http.failNext({ kind: 'change', change: (own) => ({ ...own, body: { changed: true } }) });
    expect(await get('/')).toEqual({ changed: true });
  });

  it('answers late', async () => {
    http.failNext({ kind: 'late', ms: 60_000 });
    await expect(fetch(http.origin, { signal: AbortSignal.timeout(100) })).rejects.toThrow();
    http.failNext({ kind: 'late', ms: 1 });
    expect(await get('/')).toEqual({ path: '/' });
  });

  it('forgets its faults', async () => {
    http.failNext({ kind: 'reset' });
    http.clearFaults();
    expect(await get('/')).toEqual({ path: '/' });
  });
});

describe('a request to AWS', () => {
  // AWS's own example: get-vanilla of its test suite for Signature Version 4.
  const credentials = {
    accessKeyId: 'AKIDEXAMPLE',
    secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  };
  const request = {
    method: 'GET',
    path: '/',
    headers: {
      host: 'example.amazonaws.com',
      'x-amz-date': '20150830T123600Z',
      authorization:
        'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ' +
        'SignedHeaders=host;x-amz-date, ' +
        'Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
    },
    text: '',
    body: undefined,
  };

  it('has a signature that holds', () => {
    expect(signatureFault(request, credentials)).toBeUndefined();
  });

  it('has none, another one, or one of another caller', () => {
    const { authorization: _, ...headers } = request.headers;
    expect(signatureFault({ ...request, headers }, credentials)).toBe(
      'MissingAuthenticationTokenException',
    );
    expect(signatureFault({ ...request, text: 'x' }, credentials)).toBe(
      'InvalidSignatureException',
    );
    expect(signatureFault(request, { ...credentials, accessKeyId: 'AKIDOTHER' })).toBe(
      'UnrecognizedClientException',
    );
  });
});
