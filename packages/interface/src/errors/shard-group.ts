/** Error codes of the shard-group area: code to a one-line description. */
export const shardGroupErrors = {} as const;
