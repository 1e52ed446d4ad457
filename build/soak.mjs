import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

/** Makes dist/soak/main.mjs of test/soak: written in TypeScript like the tests whose helpers it shares, run by plain Node. */
process.chdir(fileURLToPath(new URL('..', import.meta.url)));
await build({
  input: { main: 'test/soak/main.ts' },
  platform: 'node',
  resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
  transform: { target: 'node20' },
  output: { dir: 'dist/soak', format: 'esm', entryFileNames: '[name].mjs', sourcemap: true },
});
