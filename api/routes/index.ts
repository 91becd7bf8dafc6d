/** Every route of the platform. A new file of routes is added here, and nowhere else. */
import type { RouteDeps } from '../deps.ts';
import type { Route } from '../route.ts';
import { healthRoutes } from './health.ts';
import { platformRoutes } from './platform.ts';

const families: readonly ((deps: RouteDeps) => Route[])[] = [healthRoutes, platformRoutes];

export function allRoutes(deps: RouteDeps): Route[] {
  return families.flatMap((family) => family(deps));
}
