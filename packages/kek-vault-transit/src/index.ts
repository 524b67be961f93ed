/**
 * A KEK provider over the transit engine of HashiCorp Vault or OpenBao.
 * @packageDocumentation
 */
export { type KekFromVaultTransitOptions, kekFromVaultTransit } from './vault-transit-kek.ts';
