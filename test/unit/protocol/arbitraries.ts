import fc from 'fast-check';

/** Every 16-bit unit is as likely as any: lone surrogates included. */
export const anyUnits = fc.string({
  unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
});
/** Unicode text without lone surrogates, NUL and the last code points included. */
export const wellFormed = fc.string({ unit: 'binary' });
