/** AES-256-GCM envelopes for Raft payloads and stored values: header codec, AADs, keyring, nonce sequence, seal and open.
 * @packageDocumentation
 */
export {};
