/** Identifiers: a prefix that names the kind, then 24 hexadecimal digits (contract alancoin-payments 1.2). */

export const idPrefixes = {
  gatewaySession: 'gw_',
  call: 'call_',
  service: 'svc_',
  apiKey: 'ak_',
  apiSecret: 'sk_',
  transaction: 'tx_',
  escrow: 'esc_',
  card: 'card_',
  multistepEscrow: 'mse_',
  pipeline: 'pipe_',
  stream: 'str_',
  tick: 'tick_',
  event: 'evt_',
  challenge: 'chal_',
} as const;
export type IdKind = keyof typeof idPrefixes;

/** Makes an id from 24 digits of time and chance; the caller brings them because workflows have neither. */
export function idFrom(kind: IdKind, hex24: string): string {
  return idPrefixes[kind] + hex24;
}

const ADDRESS = /^0x[0-9a-fA-F]{40}$/;
export function isAddress(text: string): boolean {
  return ADDRESS.test(text);
}

/** Addresses are stored, compared and answered in lower case. */
export function normaliseAddress(text: string): string {
  return text.toLowerCase();
}

/** The text of a service type, as a gateway can call it (contract alancoin-payments 2.4). */
export const SERVICE_TYPE = /^[a-zA-Z0-9_-]{1,100}$/;
