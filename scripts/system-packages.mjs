/**
 * Programs that tests run and npm cannot install. They come from the distribution's packages; a
 * service that such a package brings along is never started.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * @typedef {object} SystemPackage
 * @property {string} debian - Name of the Debian package.
 * @property {readonly string[]} commands - What tests run of it.
 * @property {string} usedFor
 * @property {string} [service] - What the package may have started.
 */

/** @type {readonly SystemPackage[]} */
const systemPackages = [
  {
    debian: 'redis-server',
    commands: ['redis-server'],
    usedFor: 'comparing replies with those of Redis',
    service: 'redis-server',
  },
  {
    debian: 'redis-tools',
    commands: ['redis-cli', 'redis-benchmark'],
    usedFor: 'driving the server with the clients of Redis',
  },
  {
    debian: 'etcd-server',
    commands: ['etcd'],
    usedFor: 'logs and leaders of a cluster in real etcd processes',
    service: 'etcd',
  },
  {
    debian: 'etcd-client',
    commands: ['etcdctl'],
    usedFor: 'setting up and tampering with what those processes hold',
  },
  {
    debian: 'softhsm2',
    commands: ['softhsm2-util'],
    usedFor: 'KEKs in a PKCS#11 token',
  },
  {
    debian: 'gcc',
    commands: ['cc'],
    usedFor: 'compiling a PKCS#11 module that fails on demand, and what Spin makes of a model',
  },
  {
    debian: 'libc6-dev',
    commands: ['cc'],
    usedFor: 'the headers of that module',
  },
  {
    debian: 'spin',
    commands: ['spin'],
    usedFor: 'searching every state of the model of the cutover',
  },
];

/** Asked by Debian's maintainer scripts before they start a service; 101 forbids it. */
const POLICY_FILE = '/usr/sbin/policy-rc.d';

/**
 * @param {string} command
 * @returns {boolean} whether it is on PATH.
 */
function isInstalled(command) {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return directory !== '';
    } catch {
      return false;
    }
  });
}

function missingPackages() {
  return systemPackages.filter(({ commands }) => !commands.every(isInstalled));
}

/** Installs what is missing. Returns false, after saying how to get it, where that cannot be. */
export function installSystemPackages() {
  const missing = missingPackages();
  if (missing.length === 0) return true;
  for (const { debian, commands, usedFor } of missing) {
    console.log(`missing: ${commands.join(', ')} (Debian package ${debian}), for ${usedFor}`);
  }
  const names = missing.map(({ debian }) => debian);
  if (process.getuid?.() === 0 && isInstalled('apt-get')) aptInstall(missing);
  const still = missingPackages().flatMap(({ commands }) => commands);
  if (still.length === 0) return true;
  console.error(
    `Expected on PATH, and not found: ${still.join(', ')}. Tests that need them fail ` +
      `without them. On Debian or Ubuntu: sudo apt-get install --no-install-recommends ` +
      `${names.join(' ')}. Elsewhere: install Redis 7 or later from https://redis.io, etcd 3.4 ` +
      `or later from https://etcd.io, SoftHSM 2.6 or later from https://www.softhsm.org, and Spin ` +
      `6.5 or later from https://spinroot.com.`,
  );
  return false;
}

/** @param {readonly SystemPackage[]} missing */
function aptInstall(missing) {
  const isPolicyOurs = !existsSync(POLICY_FILE);
  if (isPolicyOurs) writeFileSync(POLICY_FILE, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const names = missing.map(({ debian }) => debian);
    const install = ['install', '-y', '--no-install-recommends', ...names];
    // The package lists of a container image are usually empty: fetched only where they are.
    if (apt(install) || (apt(['update']) && apt(install))) missing.forEach(stopService);
  } finally {
    if (isPolicyOurs) rmSync(POLICY_FILE, { force: true });
  }
}

/** @param {readonly string[]} args */
function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const lock = ['-o', 'DPkg::Lock::Timeout=120'];
  const { status } = spawnSync('apt-get', [...lock, ...args], {
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return status === 0;
}

/**
 * A policy file that was there before may allow services: what the package started, it stops.
 * @param {SystemPackage} installed
 */
function stopService({ service }) {
  if (service === undefined) return;
  const isRunning = spawnSync('service', [service, 'status'], { stdio: 'ignore' }).status === 0;
  if (!isRunning) return;
  spawnSync('service', [service, 'stop'], { stdio: ['ignore', 'inherit', 'inherit'] });
}
