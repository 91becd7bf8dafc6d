/** Every workflow of the platform; the entry of the bundle that workers load. */
export { virtualCard } from './card.ts';
export { audit, retention } from './chores.ts';
export { escrow } from './escrow.ts';
export { gatewayCall } from './gateway-call.ts';
export { gatewayCalls } from './gateway-calls.ts';
export { gatewaySession } from './gateway-session.ts';
export { multistepEscrow } from './multistep-escrow.ts';
export { stream } from './stream.ts';
export { pipeline } from './pipeline.ts';
