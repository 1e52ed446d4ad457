/** Characters that take two cells of a terminal, and those that take none (https://www.unicode.org/reports/tr11/). */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const NONE = /[\p{Mn}\p{Me}\p{Cf}]/u;

function cellsOf(char: string): number {
  return NONE.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
}

/** How many cells of a terminal a text takes that has no colours and nothing invisible. */
export function cells(text: string): number {
  let count = 0;
  for (const char of text) count += cellsOf(char);
  return count;
}

/** The text's beginning, no wider than that, with `…` where something is missing. */
export function fitStart(text: string, width: number): string {
  if (cells(text) <= width) return text;
  let kept = '';
  let left = width - 1;
  for (const char of text) {
    left -= cellsOf(char);
    if (left < 0) break;
    kept += char;
  }
  return width <= 0 ? '' : `${kept}…`;
}

/** The text's end, no wider than that: of a path it says more than its beginning. */
export function fitEnd(text: string, width: number): string {
  if (cells(text) <= width) return text;
  const reversed = fitStart([...text].reverse().join(''), width);
  return [...reversed].reverse().join('');
}

/** Exactly that wide, or wider if it does not fit. */
export function padEnd(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - cells(text)));
}

/** The same, to the right. */
export function padStart(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - cells(text))) + text;
}
