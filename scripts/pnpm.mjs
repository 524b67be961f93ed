/**
 * The pinned pnpm, fetched by the npm that started this script: nothing but Node and npm has to be
 * on the machine. The pin is `packageManager` of package.json.
 */
import { readFileSync } from 'node:fs';
import { run } from './processes.mjs';

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

const settings = {
  TURBO_TELEMETRY_DISABLED: '1',
  DO_NOT_TRACK: '1',
  // The lockfile pins every version by its hash; its age was checked when it was written. It must
  // be the same for install and run, or pnpm installs again before each script.
  pnpm_config_minimum_release_age: '0',
  pnpm_config_verify_deps_before_run: 'false',
  npm_config_update_notifier: 'false',
};

/**
 * The environment of every step: the caller's, without what would leave out what is needed here.
 * @returns {NodeJS.ProcessEnv}
 */
export function stepEnvironment() {
  /** @type {NodeJS.ProcessEnv} */
  const env = { ...process.env, ...settings };
  delete env.NODE_ENV;
  delete env.npm_config_omit;
  delete env.npm_config_production;
  return env;
}

/**
 * @param {readonly string[]} args
 * @returns {Promise<number>} pnpm's exit code.
 */
export function pnpm(args) {
  // `--prefer-offline`: without it npm asks the registry each time, and waits long without network.
  const exec = [
    'exec',
    '--yes',
    '--prefer-offline',
    `--package=${manifest.packageManager}`,
    '--',
    'pnpm',
    ...args,
  ];
  const npm = process.env.npm_execpath;
  const env = stepEnvironment();
  if (npm?.endsWith('npm-cli.js')) return run(process.execPath, [npm, ...exec], { env });
  return run('npm', exec, { env });
}
