/** Mistakes that still look like a name: letters that are wrong, missing, too many, or that have changed places. */
const MAX_DISTANCE = 2;

/** The one of the names that was perhaps meant; undefined when none looks like it. */
export function similar(name: string, names: readonly string[]): string | undefined {
  const [best] = names
    .map((other) => ({ other, distance: distance(name.toLowerCase(), other.toLowerCase()) }))
    // Of a short name two wrong letters leave nothing.
    .filter((one) => one.distance <= Math.min(MAX_DISTANCE, Math.floor(one.other.length / 3)))
    .sort((one, other) => one.distance - other.distance);
  return best?.other;
}

/** The sentence that suggests it, with a space in front; nothing when there is nothing to suggest. */
export function didYouMean(name: string, names: readonly string[]): string {
  const meant = similar(name, names);
  return meant === undefined ? '' : ` Did you mean ${meant}?`;
}

/** https://en.wikipedia.org/wiki/Damerau–Levenshtein_distance#Optimal_string_alignment_distance */
function distance(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > MAX_DISTANCE) return Number.POSITIVE_INFINITY;
  let before: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 1; i <= one.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const same = one[i - 1] === other[j - 1];
      let least = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1])
        least = Math.min(least, (before[j - 2] ?? 0) + 1);
      row.push(least);
    }
    before = last;
    last = row;
  }
  return last[other.length] ?? 0;
}
