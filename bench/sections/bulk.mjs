import { once } from 'node:events';
import { lastWords } from '../playground.mjs';
import { median } from '../statistics.mjs';
import { startDaemon } from '../subjects/skylinedb.mjs';
import { countFiles, makeFiles } from '../subjects/sqlite-file.mjs';

const LOADER = new URL('../bulk-loader.mjs', import.meta.url);
const SETTING = /** @type {const} */ ({ load: 'insert', durability: 'normal', databases: 1 });

/**
 * Many rows into one table: through the daemon with paramSets, and in process in one transaction.
 * @param {import('../playground.mjs').Playground} ground
 * @param {import('../options.mjs').Options} options
 * @param {(what: string) => void} tell
 */
export async function measureBulk(ground, options, tell) {
  const rows = options.quick ? 100_000 : 1_000_000;
  /** @type {Record<'skylinedb' | 'direct', number[]>} */
  const perSecond = { skylinedb: [], direct: [] };
  /** @type {string[]} */
  const mismatches = [];
  for (let round = 0; round < options.rounds; round += 1) {
    for (const way of /** @type {const} */ (['skylinedb', 'direct'])) {
      tell(`bulk load of ${rows} rows: round ${round + 1}/${options.rounds}, ${way}`);
      const { ms, found } = await loadOnce(ground, way, rows);
      perSecond[way].push((rows / ms) * 1000);
      if (found !== rows) mismatches.push(`${way}: ${found} in the file, but ${rows} were acknowledged`);
    }
  }
  return {
    rows,
    skylinedb: median(perSecond.skylinedb),
    direct: median(perSecond.direct),
    rounds: perSecond,
    mismatches,
  };
}

/**
 * @param {import('../playground.mjs').Playground} ground
 * @param {'skylinedb' | 'direct'} way
 * @param {number} rows
 */
async function loadOnce(ground, way, rows) {
  const folder = ground.folder('bulk');
  const [file = ''] = makeFiles(folder, SETTING);
  const daemon = way === 'direct' ? null : await startDaemon(ground, []);
  const child = ground.fork(LOADER, [way, file, String(rows), daemon?.socket ?? '']);
  const words = lastWords(child);
  const died = once(child, 'exit').then(([code]) => {
    throw new Error(`The loader ended early (${code}): ${words()}`);
  });
  const [ms] = await Promise.race([once(child, 'message'), died]);
  died.catch(() => undefined);
  await daemon?.stop();
  await ground.stop(child);
  const found = countFiles([file], SETTING.load);
  ground.remove(folder);
  return { ms: Number(ms), found };
}
