/** Every route of the platform. A new file of routes is added here, and nowhere else. */
import type { RouteDeps } from '../deps.ts';
import type { Route } from '../routing/route.ts';
import { adminRoutes } from './admin.ts';
import { agentRoutes } from './agents.ts';
import { authRoutes } from './auth.ts';
import { bookRoutes } from './books.ts';
import { cardRoutes } from './cards.ts';
import { docsRoutes } from './docs.ts';
import { escrowRoutes } from './escrow.ts';
import { gatewayAdminRoutes } from './gateway-admin.ts';
import { gatewayCallReadRoutes } from './gateway-call-reads.ts';
import { gatewayLongCallRoutes } from './gateway-long-calls.ts';
import { gatewayPipelineRoutes } from './gateway-pipelines.ts';
import { gatewayCallRoutes } from './gateway-calls.ts';
import { gatewaySessionRoutes } from './gateway-sessions.ts';
import { healthRoutes } from './health.ts';
import { multistepRoutes } from './multistep.ts';
import { networkRoutes } from './network.ts';
import { paymentRoutes } from './payments.ts';
import { platformRoutes } from './platform.ts';
import { reputationRoutes } from './reputation.ts';
import { serviceRoutes } from './services.ts';
import { streamReadRoutes } from './stream-reads.ts';
import { streamRoutes } from './streams.ts';
import { temporalRoutes } from './temporal.ts';
import { walletRoutes } from './wallet.ts';

const families: readonly ((deps: RouteDeps) => Route[])[] = [
  healthRoutes, platformRoutes, gatewaySessionRoutes, gatewayCallRoutes, gatewayCallReadRoutes, gatewayLongCallRoutes,
  gatewayPipelineRoutes, gatewayAdminRoutes, escrowRoutes, cardRoutes, multistepRoutes, streamRoutes,
  streamReadRoutes, paymentRoutes, authRoutes, agentRoutes, serviceRoutes, walletRoutes, adminRoutes, bookRoutes, temporalRoutes,
  networkRoutes, reputationRoutes,
];

export function allRoutes(deps: RouteDeps): Route[] {
  const routes: Route[] = families.flatMap((family) => family(deps));
  routes.push(...docsRoutes(deps, () => routes));
  return routes;
}
