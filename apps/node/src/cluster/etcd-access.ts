/** How etcd is reached, with certificates and secrets read from their files. */
import type { EtcdAccess } from '@raftseal/raft-engine-etcd';
import type { EtcdConfig } from '../config.ts';
import { readSecretFile } from '../secret-file.ts';
import { readCertificates } from '../tls-files.ts';

/** @throws RAFTSEAL_NODE_CERTIFICATE, RAFTSEAL_NODE_SECRET_FILE */
export async function readEtcdAccess(etcd: EtcdConfig): Promise<EtcdAccess> {
  const { endpoints, userName: name, passwordPath } = etcd;
  const tls = await readTls(etcd);
  if (name === undefined || passwordPath === undefined) return { endpoints, tls };
  const file = await readSecretFile('the password for etcd', passwordPath);
  const password = file.toString().replace(/\r?\n$/, '');
  return { endpoints, tls, user: { name, password } };
}

async function readTls({
  caPath,
  certificatePath,
  keyPath,
}: EtcdConfig): Promise<NonNullable<EtcdAccess['tls']>> {
  const ca = caPath === undefined ? {} : { caPem: (await readCertificates(caPath)).toString() };
  if (certificatePath === undefined || keyPath === undefined) return ca;
  const certificatePem = (await readCertificates(certificatePath)).toString();
  const keyPem = (await readSecretFile('the private key for etcd', keyPath)).toString();
  return { ...ca, certificatePem, keyPem };
}
