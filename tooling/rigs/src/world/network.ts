/**
 * Hosts as network namespaces on one bridge, so that traffic between any two of them can be cut, in
 * one direction or both. The packets are dropped on arrival, as on a network that fails: nobody is
 * told, and connections stay open.
 *
 * Everything is made inside a network and mount namespace of the calling process's own (sandbox.ts),
 * where the bridge and the names of the namespaces end with the last process in it: there is nothing
 * to remove, and nothing of the machine's network is touched.
 */
import { mkdirSync } from 'node:fs';
import { runCommand } from './command.ts';
import type { CommandLine, Host } from './host.ts';
import { assertInSandbox } from './sandbox.ts';

const NAMES = '/run/netns';
const SUBNET = '10.77.0';
const BRIDGE_ADDRESS = `${SUBNET}.254`;

/** Packets from the addresses in the one set are all dropped, from those in the other some are. */
const ruleset = `table inet rig {
  set cut {
    type ipv4_addr
  }
  set lossy {
    type ipv4_addr
  }
  chain arrivals {
    type filter hook input priority 0
    ip saddr @cut drop
    ip saddr @lossy numgen random mod 100 < 30 drop
  }
}
`;

/** How much of the traffic is lost. */
export type Loss = 'cut' | 'lossy';

export interface NetworkHost extends Host {
  /** Traffic from the other host no longer arrives here, or three of ten packets do not. */
  lose(loss: Loss, from: Host): Promise<void>;
  /** Takes one such loss back. */
  heal(loss: Loss, from: Host): Promise<void>;
}

export async function makeNetwork(names: readonly string[]): Promise<readonly NetworkHost[]> {
  assertInSandbox();
  mkdirSync(NAMES, { recursive: true });
  await runCommand(['mount', '-t', 'tmpfs', 'names', NAMES]);
  const hosts = names.map((name, at) => networkHost(name, `${SUBNET}.${at + 1}`));
  await runCommand(['ip', '-batch', '-'], { input: linksOf(hosts) });
  for (const host of hosts) {
    await runCommand(['ip', '-n', host.name, '-batch', '-'], { input: addressesOf(host) });
    await filter(host, ruleset);
  }
  return hosts;
}

function linksOf(hosts: readonly Host[]): string {
  const bridge = [
    'link set lo up',
    'link add rig type bridge',
    `address add ${BRIDGE_ADDRESS}/24 dev rig`,
    'link set rig up',
  ];
  const links = hosts.flatMap(({ name }) => [
    `netns add ${name}`,
    `link add to-${name} type veth peer name eth0 netns ${name}`,
    `link set to-${name} master rig up`,
  ]);
  return [...bridge, ...links, ''].join('\n');
}

function addressesOf({ address }: Host): string {
  return ['link set lo up', `address add ${address}/24 dev eth0`, 'link set eth0 up', ''].join(
    '\n',
  );
}

function networkHost(name: string, address: string): NetworkHost {
  /** Two faults may lose the same traffic: it flows again when both are over. */
  const losses = new Map<string, number>();
  const change = async (loss: Loss, other: Host, by: 1 | -1): Promise<void> => {
    const key = `${loss} ${other.address}`;
    const count = (losses.get(key) ?? 0) + by;
    losses.set(key, count);
    const verb = by === 1 ? 'add' : 'delete';
    if (count !== (by === 1 ? 1 : 0)) return;
    await filter(host, `${verb} element inet rig ${loss} { ${other.address} }\n`);
  };
  const host: NetworkHost = {
    name,
    address,
    on: (command: CommandLine): CommandLine => ['nsenter', `--net=${NAMES}/${name}`, ...command],
    lose: (loss, from) => change(loss, from, 1),
    heal: (loss, from) => change(loss, from, -1),
  };
  return host;
}

async function filter(host: Host, rules: string): Promise<void> {
  await runCommand(host.on(['nft', '-f', '-']), { input: rules });
}
