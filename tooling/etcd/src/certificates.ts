/** A certificate authority for one test: one certificate for the servers, any for clients. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './program.ts';

export interface Certificate {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface EtcdTls {
  readonly caPem: string;
  /** A client certificate; etcd takes its common name as the name of the user. */
  clientCertificate(commonName: string): Promise<Certificate>;
}

const DAYS = '2';
const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes `ca.pem`, `server.pem` and `server-key.pem` in the directory. */
export async function makeCertificates(directory: string): Promise<EtcdTls> {
  const subject = ['-subj', '/CN=test authority'];
  const ca = ['-keyout', 'ca-key.pem', '-out', 'ca.pem', '-days', DAYS];
  await run('openssl', ['req', '-x509', ...curve, ...subject, ...ca], { cwd: directory });
  await sign(directory, 'server', 'etcd', 'subjectAltName=IP:127.0.0.1,DNS:localhost');
  let clients = 0;
  return {
    caPem: await readFile(join(directory, 'ca.pem'), 'utf8'),
    clientCertificate: (commonName) => {
      clients += 1;
      return sign(directory, `client-${clients}`, commonName, 'extendedKeyUsage=clientAuth');
    },
  };
}

async function sign(
  directory: string,
  file: string,
  commonName: string,
  extension: string,
): Promise<Certificate> {
  const request = ['-keyout', `${file}-key.pem`, '-out', `${file}.csr`];
  const subject = ['-subj', `/CN=${commonName}`];
  await run('openssl', ['req', ...curve, ...subject, ...request], { cwd: directory });
  await writeFile(join(directory, `${file}.ext`), `${extension}\n`);
  const ca = ['-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-days', DAYS];
  const files = ['-in', `${file}.csr`, '-out', `${file}.pem`, '-extfile', `${file}.ext`];
  await run('openssl', ['x509', '-req', ...ca, ...files], { cwd: directory });
  return {
    certificatePem: await readFile(join(directory, `${file}.pem`), 'utf8'),
    keyPem: await readFile(join(directory, `${file}-key.pem`), 'utf8'),
  };
}
