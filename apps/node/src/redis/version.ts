/** The version of Redis whose protocol, texts and semantics the front end follows. */
export const REDIS_VERSION = '7.0.15';
