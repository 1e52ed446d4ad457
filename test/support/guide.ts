/** One fenced block of a guide. */
export interface Block {
  readonly language: string;
  readonly text: string;
  /** The file that it becomes: named in the comment on its first line. */
  readonly file: string | null;
  /** Line in the guide, from 1. */
  readonly line: number;
}

/** Languages whose blocks are run, or become files that are run; what else a guide may show. */
const CODE = new Set(['js', 'ts', 'sh', 'sql', 'json']);
const SHOWN = new Set(['text']);

/**
 * The blocks of a guide, in order.
 * @throws Error for a fence without an end, or of a language that nobody would check
 */
export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: { language: string; line: number; indent: string; lines: string[] } | null = null;
  for (const [index, line] of markdown.split('\n').entries()) {
    const [, indent = '', fence] = /^( *)```(.*)$/.exec(line) ?? [];
    if (fence === undefined)
      open?.lines.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line);
    else if (open === null) open = { language: fence.trim(), line: index + 1, indent, lines: [] };
    else {
      blocks.push(block(open.language, open.line, open.lines));
      open = null;
    }
  }
  if (open !== null) throw new Error(`line ${open.line}: the block has no end`);
  return blocks;
}

function block(language: string, line: number, lines: readonly string[]): Block {
  if (!CODE.has(language) && !SHOWN.has(language))
    throw new Error(`line ${line}: a block of language "${language}" is not checked by anything`);
  const file = /^(?:\/\/|#|--) ([\w./-]+\.\w+)\b/.exec(lines[0] ?? '')?.[1] ?? null;
  return { language, text: `${lines.join('\n')}\n`, file, line };
}
