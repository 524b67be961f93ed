/**
 * Checks the signature of a request to AWS (Signature Version 4,
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
 */
import { createHash, createHmac } from 'node:crypto';
import type { HttpRequest } from './local-http.ts';

const HEADER =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/;

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** The name of AWS's error for a signature that does not hold, or undefined. */
export function signatureFault(
  request: HttpRequest,
  { accessKeyId, secretAccessKey }: AwsCredentials,
): string | undefined {
  const [, keyId, date, region, service, names, signature] =
    HEADER.exec(request.headers.authorization ?? '') ?? [];
  if (keyId === undefined || names === undefined) return 'MissingAuthenticationTokenException';
  if (keyId !== accessKeyId) return 'UnrecognizedClientException';
  const scope = `${date}/${region}/${service}/aws4_request`;
  const toSign = [
    'AWS4-HMAC-SHA256',
    String(request.headers['x-amz-date']),
    scope,
    sha256(canonicalRequest(request, names)),
  ].join('\n');
  let key: Buffer | string = `AWS4${secretAccessKey}`;
  for (const part of scope.split('/')) key = createHmac('sha256', key).update(part).digest();
  const expected = createHmac('sha256', key).update(toSign).digest('hex');
  return expected === signature ? undefined : 'InvalidSignatureException';
}

function canonicalRequest({ method, path, headers, text }: HttpRequest, names: string): string {
  const values = names.split(';').map((name) => `${name}:${String(headers[name]).trim()}\n`);
  return [method, path, '', values.join(''), names, sha256(text)].join('\n');
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
