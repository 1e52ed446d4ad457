import { type CommonOptions, commonOptions, optionsOf } from '../options.js';
import { replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

const DEFAULT_WAIT_MS = 10_000;

export const define: Define = (command) => {
  commonOptions(command, 'how long to wait for the answer (default: 10s)')
    .description("Prints the daemon's figures as text that Prometheus reads. Starts no daemon.")
    .addHelpText(
      'after',
      `
The busiest databases have series of their own (--metrics-databases of the daemon, default 20); all others are summed as
db="(other)". The daemon serves the same at http://127.0.0.1:PORT/metrics when it was started with --metrics-port PORT.

Examples:
  skylinedb-cli metrics
  skylinedb-cli metrics > /var/lib/node_exporter/skylinedb.prom`,
    );
  return async () => {
    const options = optionsOf<CommonOptions>(command);
    const { timeout: waitMs = DEFAULT_WAIT_MS } = options;
    const text = await withClient(options, { start: false, waitMs }, (client) => client.metrics());
    return replyReport({ status: 'ok', text }, ({ out }) => out.write(text));
  };
};
