/** The package's version, as in package.json (a test compares): reading that file would cost every start of a program. */
export const VERSION = '0.1.0';
