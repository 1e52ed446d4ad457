import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

/**
 * Makes the programs in dist/bin, each of few files: a command line is started often, and opening fifty modules takes
 * longer than running them. What a program needs only now and then stays in files of its own, loaded when it is needed.
 *
 * CommonJS, because Node starts it sooner than ES modules. Not minified: stack traces keep their names, and it would start
 * no sooner. tsc has checked the types before, and has made dist/client and dist/protocol for whoever imports them.
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url));
const OUT = 'dist/bin';

const PROGRAMS = {
  cli: 'cli/main.ts',
  'shell-reader': 'cli/shell/reading-process.ts',
  daemon: 'daemon/main.ts',
  worker: 'daemon/worker/main.ts',
  'checkpoint-thread': 'daemon/worker/checkpoint-thread.ts',
};

/**
 * Parts of Node, and packages, that packages load for what is never asked of them here, and that take as long to load as the packages:
 * TLS and UDP sockets, commands that are programs of their own; sending metrics somewhere, figures of the process itself. node-ipc
 * asks for the machine's name and network cards, for what is set before it is used.
 */
const UNUSED = new Map([
  ['tls', /node_modules\/node-ipc\//],
  ['dgram', /node_modules\/node-ipc\//],
  ['os', /node_modules\/node-ipc\//],
  ['node:child_process', /node_modules\/commander\//],
  ['https', /node_modules\/prom-client\//],
  ['zlib', /node_modules\/prom-client\//],
  ['@opentelemetry/api', /node_modules\/prom-client\//],
]);

const withoutUnused = {
  name: 'without-unused',
  /** @param {string} id @param {string | undefined} importer */
  resolveId(id, importer = '') {
    return UNUSED.get(id)?.test(importer.replaceAll('\\', '/')) ? `\0unused:${id}` : null;
  },
  /** @param {string} id */
  load(id) {
    if (!id.startsWith('\0unused:')) return null;
    return id.endsWith(':os')
      ? "module.exports = { hostname: () => '', networkInterfaces: () => ({}) };"
      : 'module.exports = {};';
  },
};

/** One character beyond Latin-1 makes V8 keep the whole text with two bytes for each. */
const onlyAscii = {
  name: 'only-ascii',
  /** @param {unknown} _options @param {Record<string, { type: string, code: string }>} files */
  generateBundle(_options, files) {
    for (const file of Object.values(files)) if (file.type === 'chunk') file.code = escaped(file.code);
  },
};

/** @param {string} code */
function escaped(code) {
  return code.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

process.chdir(ROOT);
rmSync(OUT, { recursive: true, force: true });
for (const [name, input] of Object.entries(PROGRAMS)) {
  await build({
    input: { [name]: input },
    platform: 'node',
    // Has a native part, which it looks for in its own folder.
    external: ['better-sqlite3'],
    resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
    transform: { target: 'node20' },
    plugins: [withoutUnused, onlyAscii],
    output: {
      dir: OUT,
      format: 'cjs',
      // node-ipc's packages are written for it, and the bundle has one mode for all.
      strict: true,
      entryFileNames: '[name].cjs',
      chunkFileNames: `${name}-[name].cjs`,
      // A third of the text, which each process keeps in memory.
      comments: { legal: true, annotation: false, jsdoc: false },
      sourcemap: true,
    },
  });
}
