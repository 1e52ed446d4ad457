import type { Client, Database } from '../../dist/client/index.js';
import { until } from './playground.js';

/** Writes nothing, but so often that the database's batches go straight to its worker from then on. */
export async function untilDirect(client: Client, database: Database): Promise<void> {
  await until('batches go straight to the worker', async () => {
    await Promise.all(Array.from({ length: 8 }, () => database.exec('SELECT 1')));
    await database.exec('SELECT 1');
    return client.route(database.path).isDirect;
  });
}
