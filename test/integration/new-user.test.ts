import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { VERSION } from '../../protocol/version.js';
import { installVersion } from '../support/other-version.js';
import { buildNativePart, installPacked, must } from '../support/packed.js';
import { type Finished, Playground } from '../support/playground.js';

/**
 * A new user, with the packed package in an empty project, and its README and `--help`: the first write, read, error and
 * upgrade, in the order in which they are met.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

let ground: Playground;
let app: string;
beforeEach(async () => {
  ground = new Playground();
  app = await installPacked(ground);
}, 240_000);
afterEach(async () => {
  await ground.dispose();
});

/** A line of shell in the project, with its commands on the PATH. */
function shell(line: string): Promise<Finished> {
  const PATH = `${join(app, 'node_modules/.bin')}:${process.env.PATH}`;
  return ground.run('sh', ['-e', '-c', line], { cwd: app, env: { PATH } });
}

/** The block of a README's section. */
function block(readme: string, section: string, language: string): string {
  const text = readme.split(`\n## ${section}\n`)[1] ?? '';
  return new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's').exec(text)?.[1] ?? '';
}

test('install, first write, first read, first error, first upgrade', async () => {
  const readme = readFileSync(join(app, 'node_modules/skylinedb/README.md'), 'utf8');

  // An npm that ran no install scripts: both sides say what is missing, and what to do.
  const first = `skylinedb-cli exec --db demo.db "CREATE TABLE stars (name TEXT)"`;
  const uncompiled = await shell(first);
  expect(uncompiled).toMatchObject({ code: 3 });
  expect(uncompiled.stderr).toContain('Run "npm rebuild better-sqlite3"');
  expect(readme).toContain('"allowScripts": { "better-sqlite3": true }');
  writeFileSync(join(app, 'demo.db'), '');
  expect((await shell(`skylinedb-cli query --db demo.db "SELECT 1"`)).stderr).toContain('npm rebuild');
  buildNativePart(app);

  // The README's program, as it stands there: it is strict TypeScript, and it runs.
  writeFileSync(join(app, 'stars.ts'), block(readme, 'In a program', 'ts'));
  const types = `--typeRoots '${join(ROOT, 'node_modules/@types')}' --types node`;
  const strict = `--strict --module nodenext --target es2023 ${types}`;
  await must(shell(`node '${join(ROOT, 'node_modules/typescript/bin/tsc')}' ${strict} stars.ts`));
  const program = await must(shell('node stars.js'));
  expect(program.stdout).toMatch(/Sirius is row 1\n\[\s+{ name: 'Canopus' },\s+{ name: 'Vega' }/);

  // Its shell commands, in their order, on the same file.
  const commands = await must(shell(block(readme, 'From a shell', 'sh')));
  expect(commands.stdout).toContain('Altair');
  expect(commands.stdout).toContain(`version      ${VERSION}`);

  // --help names commands, and each of them has a page with an example.
  const help = await must(shell('skylinedb-cli --help'));
  const names = [...help.stdout.matchAll(/^ {2}([a-z][a-z-]+) {2,}/gm)].map(([, name]) => name ?? '');
  expect(names.length).toBeGreaterThan(10);
  for (const name of names) {
    const page = await must(shell(`skylinedb-cli ${name} --help`));
    expect(page.stdout, name).toMatch(new RegExp(`^Usage: skylinedb-cli ${name}`));
    expect(page.stdout, name).toContain(`  skylinedb-cli ${name}`);
  }

  // What everybody gets wrong once.
  const mistakes: [line: string, code: number, says: string | RegExp][] = [
    [`skylinedb-cli exce "SELECT 1"`, 2, 'exec'],
    [`skylinedb-cli exec`, 2, /SQL/],
    [`skylinedb-cli exec stars.db "SELECT 1"`, 2, '--db stars.db'],
    [`skylinedb-cli exec --db stars.db "INSERT INTO star VALUES (1)"`, 1, 'no such table: star'],
    [`skylinedb-cli exec --db stars.db "INSERT INTO stars (name) VALUES (?)"`, 2, /parameter/],
    [`skylinedb-cli query --db typo.db "SELECT 1"`, 1, 'The first write makes it'],
    [`skylinedb-cli query --db stars.db "DELETE FROM stars"`, 1, /exec/],
    [`skylinedb-cli exec --db no/such/folder/x.db "CREATE TABLE t (a)"`, 1, 'no/such/folder'],
    [`skylinedb-cli exec --db stars.db "BEGIN"`, 1, /transaction/],
  ];
  for (const [line, code, says] of mistakes) {
    const { stderr, code: got } = await shell(line);
    expect(got, `${line}\n${stderr}`).toBe(code);
    expect(stderr, line).toMatch(says);
    expect(stderr, line).not.toMatch(/^ {4}at /m);
  }

  // An error that nobody caught shows its code, and what it was about.
  writeFileSync(
    join(app, 'fails.js'),
    `import { connect } from 'skylinedb';
     await (await connect()).database('stars.db').run('INSERT INTO stars (name) VALUES (?, ?)', ['x']);`,
  );
  const fails = await shell('node fails.js');
  expect(fails.code).toBe(1);
  expect(fails.stderr).toContain("code: 'INVALID_REQUEST'");
  await must(shell('skylinedb-cli shutdown'));

  // An older version's daemon runs when this one comes: it takes over, and the file goes on as it was.
  const older = installVersion(ground, '0.0.9');
  await must(
    ground.run(process.execPath, [older.cli, 'exec', '--db', join(app, 'stars.db'), 'CREATE TABLE old (a)']),
  );
  const upgrade = await must(shell(`skylinedb-cli exec --db stars.db "INSERT INTO old VALUES (1)"`));
  expect(upgrade.stderr).toBe('');
  expect((await must(shell('skylinedb-cli status'))).stdout).toContain(`version      ${VERSION}`);
  const rows = await must(shell(`skylinedb-cli query --json --db stars.db "SELECT count(*) FROM old"`));
  expect(JSON.parse(rows.stdout)).toMatchObject({ rows: [[1]] });
  await must(shell('skylinedb-cli shutdown'));
  await ground.expectCleanEnd();
}, 300_000);
