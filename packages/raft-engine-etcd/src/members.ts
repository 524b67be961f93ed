/** The members of every shard's group, as the application has written them down. */
import type { Member } from '@raftseal/interface';
import type { EtcdDocuments } from './documents.ts';

const DIRECTORY = 'members/';

/** This node alone, as a voter, where nothing is written down. */
export async function membersOf(documents: EtcdDocuments, nodeId: string): Promise<Member[]> {
  const found = await documents.list(DIRECTORY);
  const members = found.map(({ name, value }): Member => {
    return { nodeId: name.slice(DIRECTORY.length), role: roleOf(value) };
  });
  return members.length === 0 ? [{ nodeId, role: 'voter' }] : members;
}

/** Who is not plainly a voter does not vote. */
function roleOf(value: Uint8Array): Member['role'] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(value).toString('utf8'));
    const isVoter =
      typeof parsed === 'object' && parsed !== null && 'role' in parsed && parsed.role === 'voter';
    return isVoter ? 'voter' : 'learner';
  } catch {
    return 'learner';
  }
}
