import type { ErrorCode } from '../../protocol/messages.js';
import type { RowSet } from '../rows.js';

/** What the shell asks its reading process, one thing at a time. */
export interface Ask {
  readonly path: string;
  /** Other databases, by the name that stands before their tables. */
  readonly attach: { readonly [schema: string]: string };
  readonly what:
    | { readonly op: 'rows'; readonly sql: string }
    /** SQL that makes the database again, or one table. */
    | { readonly op: 'dump'; readonly table: string | null };
}

/** The next piece was printed. */
export const MORE = 'more';

/** What it answers: pieces, each when the one before was printed, and an end. */
export type Answer =
  | { readonly kind: 'rows'; readonly set: RowSet }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'end' }
  /** Not something that only reads. */
  | { readonly kind: 'writes' }
  | {
      readonly kind: 'error';
      readonly code: ErrorCode;
      readonly message: string;
      readonly sqliteCode?: string;
    };
