/** The refusal of a node that would have to lead the control shard, and who leads it. */
import { RaftsealError } from '@raftseal/interface';

export class NotControlLeaderError extends RaftsealError {
  /** Base URL of the leader's peer listener; undefined where none is known. */
  readonly leaderUrl: string | undefined;

  constructor(leaderUrl: string | undefined) {
    const leader = leaderUrl === undefined ? 'none is known' : `it is at ${leaderUrl}`;
    super(
      'RAFTSEAL_NODE_NOT_CONTROL_LEADER',
      `only the leader of the control shard can do this; ${leader}`,
    );
    this.leaderUrl = leaderUrl;
  }
}
