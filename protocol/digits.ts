/** No larger: with a thousand of each a worker at rest had 1 MB more, since its young generation grew. */
const SMALL = Array.from({ length: 100 }, (_, n) => String(n));
const PADDED = SMALL.map((text) => text.padStart(2, '0'));

/**
 * A whole number as decimal text, as a template would write it. V8 puts the text that it makes of a number into the old
 * generation, to find it again (`Factory::NumberToString`): numbers that never come again fill it until a full collection, by
 * megabytes a second where they come with each batch.
 * @param n a safe integer
 */
export function digits(n: number): string {
  if (n < 100) return n >= 0 ? (SMALL[n] as string) : String(n);
  const hundreds = Math.floor(n / 100);
  return digits(hundreds) + (PADDED[n - hundreds * 100] as string);
}
