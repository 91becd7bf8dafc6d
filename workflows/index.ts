/** Every workflow of the platform; the entry of the bundle that workers load. */
export { gatewayCalls } from './gateway-calls.ts';
export { gatewaySession } from './gateway-session.ts';
