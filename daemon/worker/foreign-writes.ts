import type { Connection } from './connection.js';

/** Whether other programs write to the file, as far as it was looked at. Nothing is looked at while nobody wants to know. */
export class ForeignWrites {
  readonly #connection: Connection;
  /** As last seen; null while nobody wants to know. */
  #dataVersion: number | null = null;
  #seen = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  watch(on: boolean): void {
    this.#dataVersion = on ? this.#connection.dataVersion : null;
    this.#seen = false;
  }

  look(): void {
    if (this.#dataVersion === null) return;
    const version = this.#connection.dataVersion;
    if (version !== this.#dataVersion) this.#seen = true;
    this.#dataVersion = version;
  }

  /** Passes over what was done since the last look: it was this process. */
  skip(): void {
    if (this.#dataVersion !== null) this.#dataVersion = this.#connection.dataVersion;
  }

  /** Whether any were seen since this was last asked. */
  take(): boolean {
    const seen = this.#seen;
    this.#seen = false;
    return seen;
  }
}
