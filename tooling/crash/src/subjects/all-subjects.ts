/** The programs that the rigs know. */
import { join } from 'node:path';
import { installSubject } from './install-subject.ts';
import { logSubject } from './log-subject.ts';
import { nodeSubject } from './node-subject.ts';
import { sidecarSubject } from './sidecar-subject.ts';
import { storeSubject } from './store-subject.ts';
import type { Subject } from './subject.ts';

export const subjectNames = ['sidecar', 'log', 'store', 'install', 'node'] as const;

export type SubjectName = (typeof subjectNames)[number];

/** @param scratch of the rig */
export function subjectOf(name: SubjectName, scratch: string): Subject {
  switch (name) {
    case 'sidecar':
      return sidecarSubject;
    case 'log':
      return logSubject;
    case 'store':
      return storeSubject;
    case 'install':
      return installSubject(join(scratch, name));
    case 'node':
      return nodeSubject;
  }
}
