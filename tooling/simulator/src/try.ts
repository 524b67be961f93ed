import { check } from './checks.ts';
import { scheduleOf } from './schedule.ts';
import { World } from './world.ts';

const from = Number(process.argv[2] ?? 1),
  count = Number(process.argv[3] ?? 1);
const t = performance.now();
let und = 0,
  virt = 0,
  steps = 0,
  seals = 0,
  entries = 0,
  ops = 0,
  faults = 0;
const kinds = new Map<string, number>();
for (let s = from; s < from + count; s++) {
  const w = await World.run(scheduleOf(s));
  const c = check(w);
  und += c.undecided;
  w.findings.length = 0;
  w.findings.push(...c.findings);
  virt += w.clock.nowMs;
  steps += w.clock.steps;
  seals += w.seals.seals;
  ops += w.clients.operations.length;
  for (const f of w.faults.values()) faults += f;
  entries += w.log(0).length + w.log(1).length + w.log(2).length;
  if (w.findings.length) {
    if (kinds.size < 12) console.log(s, w.findings[0]!.slice(0, 420));
    const k = w.findings[0]!.slice(0, 40);
    kinds.set(k, (kinds.get(k) ?? 0) + 1);
  } else if (count < 5)
    console.log(
      s,
      'ok',
      Math.round(w.clock.nowMs),
      w.clock.steps,
      w.clients.operations.length,
      [...w.appends],
      w.digests.length,
      [...w.clients.refusals],
    );
}
const sec = (performance.now() - t) / 1000;
console.log({
  seeds: count,
  sec,
  perSec: count / sec,
  steps: steps / count,
  seals: seals / count,
  entries: entries / count,
  ops: ops / count,
  faults: faults / count,
  und,
  virt: virt / count,
  kinds,
});
