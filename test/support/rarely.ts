import fc from 'fast-check';

/**
 * Absent, but for one time in `often`. (fast-check's `option` takes `freq` the other way round: nil one time in so many.)
 */
export function rarely<T>(arbitrary: fc.Arbitrary<T>, often: number): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: often - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
}
