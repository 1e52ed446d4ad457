import { isUtf8 } from 'node:buffer';
import { promises as fs } from 'node:fs';
import { messageOf } from '../protocol/errors.js';
import { usageError } from './errors.js';
import { splitSql } from './split-sql.js';

/** A statement, and where it was found, for messages. */
export interface FoundStatement {
  readonly sql: string;
  /** Such as `script.sql, line 12`; undefined for SQL from the command line. */
  readonly place: string | undefined;
}

/**
 * All statements of the command line: its SQL arguments (`-` is standard input), or its files.
 * @throws ProtocolError `INVALID_REQUEST` when there is nothing to execute, or a file cannot be read
 */
export async function readStatements(
  sqlArguments: readonly string[],
  files: readonly string[],
): Promise<FoundStatement[]> {
  if (sqlArguments.length > 0 && files.length > 0)
    throw usageError('Give SQL or --file, not both: which of them comes first would be a guess.');
  const fromStdin = [...sqlArguments, ...files].filter((one) => one === '-');
  if (fromStdin.length > 1) throw usageError('Standard input (-) can be read only once.');
  const statements: FoundStatement[] = [];
  for (const sql of sqlArguments) {
    if (/^\S+\.(db|sqlite3?)$/i.test(sql))
      throw usageError(`${sql} is no SQL. A database is named with --db: --db ${sql} "SQL".`);
    if (sql === '-') statements.push(...(await fromStandardInput()));
    else statements.push(...splitSql(sql).map((found) => ({ sql: found.sql, place: undefined })));
  }
  for (const file of files) {
    if (file === '-') statements.push(...(await fromStandardInput()));
    else statements.push(...placed(file, decode(file, await read(file))));
  }
  if (statements.length === 0)
    throw usageError(
      sqlArguments.length + files.length === 0
        ? 'There is no SQL. Give statements, --file script.sql, or - for standard input.'
        : 'There is no statement in the SQL, only space, comments or semicolons.',
    );
  return statements;
}

async function fromStandardInput(): Promise<FoundStatement[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return placed('standard input', decode('standard input', Buffer.concat(chunks)));
}

async function read(file: string): Promise<Buffer> {
  try {
    // Loaded by Node when it is asked for: most commands read no file.
    return await fs.readFile(file);
  } catch (error) {
    throw usageError(`--file ${file}: it cannot be read: ${messageOf(error)}.`);
  }
}

/** Strict: reading on with replaced bytes would store something else than the script says. */
function decode(name: string, bytes: Buffer): string {
  if (!isUtf8(bytes)) throw usageError(`${name} is not UTF-8. Convert it first, for instance with iconv.`);
  return bytes.toString('utf8');
}

function placed(name: string, script: string): FoundStatement[] {
  return splitSql(script).map(({ sql, line }) => ({ sql, place: `${name}, line ${line}` }));
}
