/** What a service throws for a wrap that does not open: another key, another binding, other bytes. */
export class DoesNotOpen extends Error {
  /** @param found what was found instead of a wrap that opens, fit to be shown to an operator. */
  constructor(found: string) {
    super(found);
    this.name = 'DoesNotOpen';
  }
}
