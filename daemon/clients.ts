import { SkylineError, toErrorReply } from '../protocol/errors.js';
import type { ByteStream } from '../protocol/transport/node-ipc.js';
import type { Config } from './config.js';
import type { DaemonFigures } from './daemon-figures.js';
import { ROUTER_LANE } from './worker/attached-clients.js';
import { ClientConnection } from './worker/client-connection.js';
import { IntakeBudget } from './worker/intake-budget.js';

/** What clients do. */
export interface ClientsHooks {
  opened(): void;
  /** One frame's payload. Whatever it throws ends the connection with an error frame. */
  frame(connection: ClientConnection, payload: Buffer): void;
  /** The client has ended its side, and everything that it had sent is taken: nothing more will come. */
  ended(connection: ClientConnection): void;
  closed(connection: ClientConnection): void;
}

/** Who is connected to the endpoint: each connection has a lane, and together they have one limit of what is in hand. */
export class Clients {
  readonly #config: Config;
  readonly #figures: DaemonFigures;
  readonly #hooks: ClientsHooks;
  readonly #connections = new Set<ClientConnection>();
  readonly #budget: IntakeBudget;
  #nextLane = 1;

  constructor(config: Config, figures: DaemonFigures, hooks: ClientsHooks) {
    this.#config = config;
    this.#figures = figures;
    this.#hooks = hooks;
    this.#budget = new IntakeBudget(config.maxIntakeBytes);
  }

  get size(): number {
    return this.#connections.size;
  }

  has(connection: ClientConnection): boolean {
    return this.#connections.has(connection);
  }

  /** A client has connected. One over the limit is told so, and leaves. */
  connect(stream: ByteStream): void {
    const connection: ClientConnection = new ClientConnection(
      this.#nextLane,
      stream,
      this.#config.limits,
      this.#budget,
      {
        frame: (payload) => this.#hooks.frame(connection, payload),
        refused: (code) => this.#figures.error(code),
        ended: () => this.#hooks.ended(connection),
        closed: () => {
          if (!this.#connections.delete(connection)) return;
          this.#figures.connections = this.#connections.size;
          this.#hooks.closed(connection);
        },
      },
    );
    const { max_connections: most } = this.#config.limits;
    if (this.#connections.size >= most) {
      this.#figures.error('QUEUE_FULL');
      connection.finish(Buffer.from(JSON.stringify(toErrorReply(tooManyConnections(most)))));
      return;
    }
    this.#nextLane = this.#nextLane === ROUTER_LANE - 1 ? 1 : this.#nextLane + 1;
    this.#connections.add(connection);
    this.#figures.connections = this.#connections.size;
    this.#hooks.opened();
  }

  /** Ends all connections, each when its answers have left. */
  disconnect(): void {
    for (const connection of this.#connections) connection.finish();
  }

  destroy(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}

function tooManyConnections(most: number): SkylineError {
  return new SkylineError(
    'QUEUE_FULL',
    `The daemon has ${most} connections, which is its limit (max_connections). Close some, or try again later.`,
    { details: { limit: 'max_connections', limit_value: most } },
  );
}
