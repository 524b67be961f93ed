import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';

const script = fileURLToPath(new URL('../certificates.mjs', import.meta.url));

/**
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 */
function run(args, env = process.env) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    env,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

function newDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'raftseal-certificates-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** @param {string} path */
const certificateIn = (path) => new X509Certificate(readFileSync(path));

/** @param {string} path */
const modeOf = (path) => (statSync(path).mode & 0o777).toString(8);

describe('npm run certificates', () => {
  it('makes a CA, and for each host a certificate that names it', () => {
    const out = join(newDirectory(), 'new');
    const hosts = ['10.0.0.1', '::1', 'node1.example.org', `${'long-name.'.repeat(10)}org`];
    expect(run(['--out', out, '--hosts', hosts.join(',')])).toMatchObject({
      status: 0,
      stderr: '',
    });
    const ca = certificateIn(join(out, 'ca.pem'));
    expect(ca.ca).toBe(true);
    for (const host of hosts) {
      const name = host.replaceAll(':', '_');
      const certificate = certificateIn(join(out, `${name}.pem`));
      expect(certificate.verify(ca.publicKey)).toBe(true);
      expect(certificate.ca).toBe(false);
      const names = host.endsWith('.org') ? certificate.checkHost(host) : certificate.checkIP(host);
      expect(names).toBe(host);
      expect(certificate.checkHost('other.example.org')).toBe(undefined);
      // Server and client authentication.
      expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
      const [cert, key] = ['pem', 'key'].map((type) => readFileSync(join(out, `${name}.${type}`)));
      createSecureContext({ cert, key });
    }
    expect(readdirSync(out)).toHaveLength(2 * (hosts.length + 1));
  });

  it('closes keys to others', () => {
    const out = newDirectory();
    run(['--out', out, '--hosts', 'a']);
    for (const name of ['ca.key', 'a.key']) expect(modeOf(join(out, name))).toBe('600');
    for (const name of ['ca.pem', 'a.pem']) expect(modeOf(join(out, name))).toBe('644');
  });

  it('uses the CA that is there, and overwrites nothing', () => {
    const out = newDirectory();
    run(['--out', out, '--hosts', 'a']);
    const before = ['ca.pem', 'ca.key', 'a.pem', 'a.key'].map((name) =>
      readFileSync(join(out, name)),
    );
    expect(run(['--out', out, '--hosts', 'b'])).toMatchObject({ status: 0 });
    const ca = certificateIn(join(out, 'ca.pem'));
    expect(certificateIn(join(out, 'b.pem')).verify(ca.publicKey)).toBe(true);
    const again = run(['--out', out, '--hosts', 'c,a']);
    expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('a.pem exists') });
    const after = ['ca.pem', 'ca.key', 'a.pem', 'a.key'].map((name) =>
      readFileSync(join(out, name)),
    );
    expect(after).toEqual(before);
    expect(readdirSync(out)).not.toContain('c.pem');
  });

  it('makes nothing beside half of a CA', () => {
    const out = newDirectory();
    writeFileSync(join(out, 'ca.key'), 'the key of somebody');
    expect(run(['--out', out, '--hosts', 'a']).status).toBe(1);
    expect(readdirSync(out)).toEqual(['ca.key']);
  });

  it.each([
    [[]],
    [['--hosts', 'a']],
    [['--out', 'x']],
    [['--out', 'x', '--hosts', '']],
    [['--out', 'x', '--hosts', 'a,']],
    [['--out', 'x', '--hosts', 'ca']],
    [['--out', 'x', '--hosts', '../a']],
    [['--out', 'x', '--hosts', 'a b']],
    [['--out', 'x', '--hosts', 'a\nDNS:b']],
    [['--out', 'x', '--hosts', '-a']],
    [['--out', 'x', '--hosts', 'a', '--days', '0']],
    [['--out', 'x', '--hosts', 'a', '--days', '1e9']],
    [['--out', 'x', '--hosts', 'a', '--force']],
  ])('takes %j for no request', (args) => {
    const out = join(newDirectory(), 'x');
    const given = args.map((arg) => (arg === 'x' ? out : arg));
    const { status, stdout, stderr } = run(given);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).not.toBe('');
    expect(stderr).not.toContain('    at ');
    expect(readdirSync(join(out, '..'))).toEqual([]);
  });

  it('says how to get openssl where there is none', () => {
    const empty = newDirectory();
    const { status, stderr } = run(['--out', join(empty, 'x'), '--hosts', 'a'], { PATH: empty });
    expect(status).toBe(1);
    expect(stderr).toContain('apt-get install openssl');
    expect(readdirSync(join(empty, 'x'))).toEqual([]);
  });
});
