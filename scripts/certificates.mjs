/**
 * Certificates to try raftseal's TLS out with: a CA, and for each host a certificate that it has
 * signed, good for listening and for connecting.
 *
 *     npm run certificates -- --out <directory> --hosts 10.0.0.1,10.0.0.2,node3.example.org
 *     npm run certificates -- --out <directory> --hosts 10.0.0.4 [--days 365]
 *
 * Makes ca.pem and ca.key where the directory has none, and <host>.pem and <host>.key (`:` in an
 * address becomes `_`). A file that exists is never overwritten. Keys are 0600. A node then takes
 *
 *     --peer-ca ca.pem --peer-cert <host>.pem --peer-key <host>.key --peer-host <host>
 *
 * and the same files serve for --tls-cert and --tls-key. Whoever has ca.key can make nodes of the
 * cluster: for anything but a trial keep the CA elsewhere.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const CA_DAYS = 3650;
const DAYS_DEFAULT = 365;
const COMMAND_TIMEOUT_MS = 30_000;
const DNS_NAME =
  /^(?=.{1,253}$)[a-z\d]([a-z\d-]{0,61}[a-z\d])?(\.[a-z\d]([a-z\d-]{0,61}[a-z\d])?)*$/i;
const usage =
  'usage: npm run certificates -- --out <directory> --hosts <host>[,<host>...] [--days <n>]';

class UsageError extends Error {}

/**
 * Every extension is said here: what a machine's own openssl.cnf would add is left out.
 * @param {string} subject
 * @param {readonly string[]} extensions
 */
const configuration = (subject, extensions) => `
[req]
prompt = no
distinguished_name = subject
x509_extensions = extensions
[subject]
CN = ${subject}
[extensions]
${extensions.join('\n')}
`;

const caConfiguration = configuration('raftseal trial CA', [
  'basicConstraints = critical, CA:TRUE, pathlen:0',
  'keyUsage = critical, keyCertSign, cRLSign',
  'subjectKeyIdentifier = hash',
]);

/** @param {string} host */
function hostConfiguration(host) {
  // A name of more than 64 characters is no common name; who verifies reads the extension.
  return configuration(host.slice(0, 64), [
    'basicConstraints = critical, CA:FALSE',
    'keyUsage = critical, digitalSignature',
    'extendedKeyUsage = serverAuth, clientAuth',
    `subjectAltName = ${isIP(host) ? 'IP' : 'DNS'}:${host}`,
  ]);
}

function main() {
  const { out, hosts, days } = options();
  const ca = { certificate: join(out, 'ca.pem'), key: join(out, 'ca.key') };
  const targets = hosts.map((host) => {
    const name = host.replaceAll(':', '_');
    return { host, certificate: join(out, `${name}.pem`), key: join(out, `${name}.key`) };
  });
  const taken = targets.flatMap(({ certificate, key }) => [certificate, key]).find(existsSync);
  if (taken !== undefined) throw new UsageError(`${taken} exists: nothing was made`);
  if (existsSync(ca.certificate) !== existsSync(ca.key)) {
    throw new UsageError(`expected ca.pem and ca.key in ${out}, or neither: nothing was made`);
  }
  const made = [];
  // Until openssl has closed a key to others it would be open to them.
  process.umask(0o077);
  mkdirSync(out, { recursive: true });
  const scratch = mkdtempSync(join(out, '.making-'));
  try {
    if (!existsSync(ca.certificate)) {
      makeCa(scratch, ca);
      made.push(ca);
    }
    for (const target of targets) {
      makeHost(scratch, ca, target, days);
      made.push(target);
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  for (const { certificate, key } of made) console.log(`made ${certificate} and ${key}`);
}

function options() {
  const { values } = parseArgs({
    options: { out: { type: 'string' }, hosts: { type: 'string' }, days: { type: 'string' } },
  });
  const hosts = [...new Set((values.hosts ?? '').split(',').map((host) => host.trim()))];
  const days = Number(values.days ?? DAYS_DEFAULT);
  if (!values.out || !values.hosts) throw new UsageError(usage);
  const wrong = hosts.find((host) => host === 'ca' || (!isIP(host) && !DNS_NAME.test(host)));
  if (wrong !== undefined)
    throw new UsageError(`${JSON.stringify(wrong)} is no name or address of a host`);
  if (!(Number.isInteger(days) && days >= 1 && days <= CA_DAYS)) {
    throw new UsageError(`--days: expected a whole number from 1 to ${CA_DAYS}`);
  }
  return { out: values.out, hosts, days };
}

/**
 * @typedef {object} Target - Where a certificate and its key go.
 * @property {string} certificate
 * @property {string} key
 */

/**
 * @param {string} scratch
 * @param {Target} ca
 */
function makeCa(scratch, ca) {
  const { config, key, certificate } = beginning(scratch, caConfiguration);
  const days = ['-days', `${CA_DAYS}`, ...serial()];
  openssl(['req', '-new', '-x509', '-config', config, '-key', key, '-out', certificate, ...days]);
  publish({ certificate, key }, ca);
}

/**
 * @param {string} scratch
 * @param {Target} ca
 * @param {Target & { readonly host: string }} target
 * @param {number} days
 */
function makeHost(scratch, ca, target, days) {
  const { config, key, certificate } = beginning(scratch, hostConfiguration(target.host));
  const request = join(scratch, 'request');
  openssl(['req', '-new', '-config', config, '-key', key, '-out', request]);
  const signer = ['-CA', ca.certificate, '-CAkey', ca.key, ...serial(), '-days', `${days}`];
  const extensions = ['-extfile', config, '-extensions', 'extensions'];
  openssl(['x509', '-req', '-in', request, ...signer, ...extensions, '-out', certificate]);
  publish({ certificate, key }, target);
}

/**
 * @param {string} scratch
 * @param {string} text
 */
function beginning(scratch, text) {
  const config = join(scratch, 'config');
  const key = join(scratch, 'key');
  writeFileSync(config, text);
  openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', key]);
  return { config, key, certificate: join(scratch, 'certificate') };
}

const serial = () => ['-set_serial', `0x${randomBytes(15).toString('hex')}`];

/**
 * Under their names only once they are whole, and never in the place of others.
 * @param {Target} made
 * @param {Target} target
 */
function publish(made, target) {
  chmodSync(made.certificate, 0o644);
  linkSync(made.key, target.key);
  linkSync(made.certificate, target.certificate);
  rmSync(made.key);
  rmSync(made.certificate);
}

/** @param {readonly string[]} args */
function openssl(args) {
  const { status, error, stderr } = spawnSync('openssl', args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: COMMAND_TIMEOUT_MS,
  });
  if (error && 'code' in error && error.code === 'ENOENT') {
    throw new UsageError(
      'openssl was not found: on Debian or Ubuntu `sudo apt-get install openssl`, on macOS ' +
        '`brew install openssl`, elsewhere see https://openssl-library.org',
    );
  }
  if (status !== 0) throw new UsageError(`openssl ${args[0]} failed: ${error?.message ?? stderr}`);
}

try {
  main();
} catch (error) {
  const isUsage = error instanceof UsageError || error instanceof TypeError;
  console.error(isUsage ? error.message : error);
  process.exitCode = 1;
}
