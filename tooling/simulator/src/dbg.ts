import { scheduleOf } from './schedule.ts';
import { World } from './world.ts';

const seed = Number(process.argv[2] ?? 1);
const s = scheduleOf(seed);
let at = 0;
for (const a of s.actions) {
  at += a.afterMs;
  console.log(at, JSON.stringify(a));
}
console.log(JSON.stringify({ ...s, actions: 0 }));
const w = await World.run(s);
console.log(w.findings.map((f) => f.slice(0, 600)));
for (const st of w.keyStates)
  console.log(
    st.nodeId,
    'active',
    st.activeDekId,
    [...st.keys].map(([id, k]) => `${id}:${k.purpose}@${k.nonceEpoch}`).join(' '),
    [...st.writers].join(' '),
  );
for (const n of w.nodes.values())
  console.log(
    n.nodeId,
    [...n.refusals],
    [...n.disk.registry.rows.values()]
      .map((r) => `${r.dekId}/${r.writerId}@${r.firstEpoch}-${r.lastEpoch}`)
      .join(' '),
    n.disk.recorded,
    n.durableIndexes,
  );
