/** The two functions every common test runner offers. */
export interface TestRunner {
  describe(name: string, body: () => void): void;
  it(name: string, body: () => void | Promise<void>, timeoutMs?: number): void;
}
