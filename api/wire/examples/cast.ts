/** Who plays in the examples of the docs, and when: one buyer, two sellers and an arbiter on the last day of January. */

export const buyer = '0x00000000000000000000000000000000000000a1';
export const seller = '0x00000000000000000000000000000000000000b2';
export const otherSeller = '0x00000000000000000000000000000000000000c3';
export const arbiter = '0x00000000000000000000000000000000000000d4';
export const serviceId = 'svc_0a1b2c3d4e5f60718293a4b5';
export const callId = 'call_0a1b2c3d4e5f60718293a4b5';
export const callWorkflowId = 'gateway-calls-7c0e5d1f2a3b4c5d6e7f8091';

/** The 24 digits behind the prefix of an id. */
export const digits = '4f1d2c3b4a5968778695a4b3';

/** So many minutes after noon. */
export function at(minutes: number): Date {
  return new Date(Date.UTC(2026, 0, 31, 12, minutes));
}

/** A page that holds all there is. */
export const wholePage = { count: 1, has_more: false };
