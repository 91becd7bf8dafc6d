/**
 * The demo's sellers, all in one process: `node --import tsx demo/sellers-main.ts [port]`. Prints `Sellers are open on <url>` when
 * they listen. They take orders once the parent has told them, in a message, who they are and where the platform is.
 */
import type { AddressInfo } from 'node:net';
import { desks } from './sellers/desks.ts';
import { createShop } from './sellers/shop.ts';
import { createTrust, type Introduction } from './sellers/trust.ts';

const trust = createTrust();
const shop = createShop(desks, trust.check);
process.on('message', (introduction: Introduction) => trust.introduce(introduction));
shop.server.listen(Number(process.argv[2] ?? '0'), '127.0.0.1', () => {
  console.log(`Sellers are open on http://127.0.0.1:${(shop.server.address() as AddressInfo).port}`);
});
process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
