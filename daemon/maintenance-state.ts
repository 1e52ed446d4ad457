import { never, SkylineError } from '../protocol/errors.js';
import type { DatabaseState } from '../protocol/messages.js';

/** The maintenance cycle. What is not here does not happen. */
const EDGES: { readonly [From in DatabaseState]: readonly DatabaseState[] } = {
  open: ['preparing'],
  preparing: ['open', 'closed'],
  closed: ['open'],
};

/** Where one database stands in its maintenance cycle, and whether a maintenance request is at work on it. */
export class MaintenanceState {
  readonly #path: string;
  readonly #onMove: (from: DatabaseState, to: DatabaseState) => void;
  readonly #onDone: () => void;
  #state: DatabaseState;
  #operation: string | null = null;

  /** @param onDone told when a maintenance request has ended, well or not */
  constructor(
    path: string,
    state: DatabaseState,
    onMove: (from: DatabaseState, to: DatabaseState) => void,
    onDone: () => void = () => undefined,
  ) {
    this.#path = path;
    this.#state = state;
    this.#onMove = onMove;
    this.#onDone = onDone;
  }

  get current(): DatabaseState {
    return this.#state;
  }

  /** The maintenance request in progress. */
  get operation(): string | null {
    return this.#operation;
  }

  /** @throws Error for an edge that is not in the table: a bug */
  moveTo(state: DatabaseState): void {
    const from = this.#state;
    if (!EDGES[from].includes(state)) throw new Error(`${this.#path} cannot go from ${from} to ${state}`);
    this.#state = state;
    this.#onMove(from, state);
  }

  /** Another daemon of this user has closed the database: its record says so. */
  foundClosed(): void {
    this.#state = 'closed';
  }

  /**
   * Runs a maintenance request; only one at a time.
   * @throws SkylineError `DATABASE_PREPARING` while another is in progress
   */
  async exclusively<T>(operation: string, work: () => Promise<T>): Promise<T> {
    if (this.#operation !== null) {
      throw new SkylineError(
        'DATABASE_PREPARING',
        `${this.#path}: ${this.#operation} is in progress. Try again when it is done.`,
      );
    }
    this.#operation = operation;
    try {
      return await work();
    } finally {
      this.#operation = null;
      this.#onDone();
    }
  }

  /** @throws SkylineError `DATABASE_PREPARING`, `DATABASE_CLOSED` */
  refuseUnlessOpen(): void {
    switch (this.#state) {
      case 'open':
        return;
      case 'preparing':
        throw new SkylineError(
          'DATABASE_PREPARING',
          `${this.#path} is being prepared for maintenance. Try again later; "skylinedb-cli reopen-database" ends the maintenance.`,
        );
      case 'closed':
        throw new SkylineError(
          'DATABASE_CLOSED',
          `Database is closed for maintenance: ${this.#path}. Whoever closed it reopens it; "skylinedb-cli reopen-database" does so by hand.`,
        );
      default:
        never(this.#state);
    }
  }
}
