import type { SqlInput } from '../protocol/values.js';

/** What a file has to give. */
export interface ImportedRows {
  /** The columns that the values are for; undefined: all of the table, in its order. */
  readonly columns: readonly string[] | undefined;
  /** Read once, in order. */
  readonly rows: AsyncGenerator<readonly SqlInput[]>;
}
