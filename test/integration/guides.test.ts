import { chmodSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Block, blocksOf } from '../support/guide.js';
import { CLI_MAIN, type Finished, Playground } from '../support/playground.js';

/**
 * The guides, followed line by line in an empty project: a block that names a file becomes that file, a block of shell
 * commands is run, and the text below it is what it prints.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const GUIDES = join(ROOT, 'docs/guides');
const guides = readdirSync(GUIDES).filter((name) => name.endsWith('.md'));

let ground: Playground;
let project: string;
beforeEach(() => {
  ground = new Playground();
  project = join(ground.dir, 'project');
  mkdirSync(join(project, 'node_modules/.bin'), { recursive: true });
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  for (const name of ['skylinedb', 'better-sqlite3', '@types'])
    symlinkSync(
      name === 'skylinedb' ? ROOT : join(ROOT, 'node_modules', name),
      join(project, 'node_modules', name),
    );
  const cli = join(project, 'node_modules/.bin/skylinedb-cli');
  writeFileSync(cli, `#!/bin/sh\nexec '${process.execPath}' '${CLI_MAIN}' "$@"\n`);
  chmodSync(cli, 0o755);
});
afterEach(async () => {
  await ground.dispose();
});

function run(command: string, args: readonly string[]): Promise<Finished> {
  const path = [join(project, 'node_modules/.bin'), dirname(process.execPath), process.env.PATH].join(':');
  return ground.run(command, args, { cwd: project, env: { PATH: path } });
}

async function check(what: string, { code, stdout, stderr }: Finished): Promise<void> {
  expect(code, `${what}\n${stdout}\n${stderr}`).toBe(0);
}

/** Blocks of which nothing would be seen if they were wrong are compiled at least. */
async function compile(files: readonly string[]): Promise<void> {
  for (const file of files.filter((name) => /\.[mc]?js$/.test(name)))
    await check(file, await run(process.execPath, ['--check', file]));
  const typed = files.filter((name) => name.endsWith('.ts'));
  const options = [
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--types',
    'node',
    '--skipLibCheck',
  ];
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  if (typed.length > 0) await check(typed.join(), await run(process.execPath, [tsc, ...options, ...typed]));
}

async function follow(blocks: readonly Block[]): Promise<{ commands: number; files: number }> {
  const files: string[] = [];
  let commands = 0;
  let printed: string | null = null;
  for (const { language, text, file, line } of blocks) {
    if (language === 'text') {
      if (printed !== null) expect(printed.trimEnd(), `line ${line}`).toBe(text.trimEnd());
      printed = null;
    } else if (file !== null) {
      mkdirSync(dirname(join(project, file)), { recursive: true });
      writeFileSync(join(project, file), text);
      files.push(file);
      await compile([file]);
    } else {
      expect(language, `line ${line}: a block that is no file and no command`).toBe('sh');
      const done = await run('sh', ['-e', '-c', text]);
      await check(`line ${line}: ${text}`, done);
      printed = done.stdout;
      commands += 1;
    }
  }
  return { commands, files: files.length };
}

test.each(guides)(
  'docs/guides/%s can be followed',
  async (name) => {
    const blocks = blocksOf(readFileSync(join(GUIDES, name), 'utf8'));
    const { commands, files } = await follow(blocks);
    // Files that nobody runs prove nothing.
    if (files > 0) expect(commands).toBeGreaterThan(0);
  },
  180_000,
);
