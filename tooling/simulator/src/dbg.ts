import type { PlantName } from './plants.ts';
import { simulateSeed } from './run.ts';

const from = Number(process.argv[2]),
  to = Number(process.argv[3] ?? from),
  name = process.argv[4] as PlantName | undefined;
const c0 = process.cpuUsage();
for (let s = from; s <= to; s++) {
  const r = await simulateSeed(s, name);
  for (const f of r.findings.slice(0, 1)) {
    console.log(s, f.slice(0, 500));
  }
  if (from === to) console.log(r);
}
const c = process.cpuUsage(c0);
console.log('seeds per cpu s', (to - from + 1) / ((c.user + c.system) / 1e6));
