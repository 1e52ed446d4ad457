// Run with: node examples/node/stars.mjs   (after `npm install`; the daemon starts by itself)
import { connect, SkylineError } from 'skylinedb';

const skyline = await connect({ name: 'stars-example' });
const db = skyline.database(process.argv[2] ?? 'stars.db');

await db.batch([
  'CREATE TABLE IF NOT EXISTS example_stars (id INTEGER PRIMARY KEY, name TEXT UNIQUE, magnitude REAL)',
  'DELETE FROM example_stars',
  {
    sql: 'INSERT INTO example_stars (name, magnitude) VALUES (?, ?)',
    paramSets: [
      ['Sirius', -1.46],
      ['Canopus', -0.74],
      ['Vega', 0.03],
    ],
  },
]);

const reader = db.reader();
for (const { name, magnitude } of reader.all(
  'SELECT name, magnitude FROM example_stars ORDER BY magnitude',
)) {
  console.log(`${name}\t${magnitude}`);
}
reader.close();

try {
  await db.run('INSERT INTO example_stars (name) VALUES (?)', ['Vega']);
} catch (error) {
  if (!(error instanceof SkylineError)) throw error;
  console.log(`refused: ${error.code} ${error.details.sqlite_code}`);
}
skyline.close();
