const SMALL = Array.from({ length: 1000 }, (_, n) => String(n));
const PADDED = SMALL.map((text) => text.padStart(3, '0'));

/**
 * A whole number as decimal text, as a template would write it. V8 puts the text that it makes of a number into the old
 * generation, to find it again (`Factory::NumberToString`): numbers that never come again fill it until a full collection, by
 * megabytes a second where they come with each batch.
 * @param n a safe integer
 */
export function digits(n: number): string {
  if (n < 1000) return n >= 0 ? (SMALL[n] as string) : String(n);
  const thousands = Math.floor(n / 1000);
  return digits(thousands) + (PADDED[n - thousands * 1000] as string);
}
