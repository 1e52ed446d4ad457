import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** Tests with real processes wait for these most of the time: more of them at once than there are processors. */
const maxWorkers = Math.ceil(1.5 * availableParallelism());

/** Unit tests run on plain objects; integration and fault tests run the compiled program with real processes. */
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 20_000 } },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          setupFiles: ['test/support/kill.ts'],
          maxWorkers,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'fault',
          include: ['test/fault/**/*.test.ts'],
          setupFiles: ['test/support/kill.ts'],
          maxWorkers,
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
