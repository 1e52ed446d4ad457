import { setTimeout as sleep } from 'node:timers/promises';
import { runFleet } from '../fleet.mjs';
import { INSERT_ENTRY, NOTE } from '../loads.mjs';
import { memory } from '../processes.mjs';
import { library, startDaemon } from '../subjects/skylinedb.mjs';
import { countFiles, makeFiles } from '../subjects/sqlite-file.mjs';

const CLIENTS = 4;
const IN_FLIGHT = 32;

/**
 * Private memory (Private_Dirty, bytes) of router and worker: at rest, right after load, and some seconds later.
 * @param {import('../playground.mjs').Playground} ground
 * @param {import('../options.mjs').Options} options
 * @param {(what: string) => void} tell
 */
export async function measureMemory(ground, options, tell) {
  const loadSeconds = options.quick ? Math.min(5, options.seconds * 5) : 60;
  const restSeconds = Math.min(5, options.seconds * 2);
  const folder = ground.folder('memory');
  const files = makeFiles(folder, { load: 'insert', durability: 'normal', databases: 1 });
  const daemon = await startDaemon(ground, []);
  const { connect } = await library();
  const skyline = await connect({ socket: daemon.socket, autoStart: false });
  const [file = ''] = files;
  await skyline.database(file).run(INSERT_ENTRY, [0, 0, NOTE]);
  const look = async () => {
    const { databases } = await skyline.status(file);
    const worker = databases[0]?.worker_pid;
    return {
      router: memory(daemon.pid, 'Private_Dirty'),
      worker: worker == null ? null : memory(worker, 'Private_Dirty'),
    };
  };
  tell(`memory: at rest for ${restSeconds} s`);
  await sleep(restSeconds * 1000);
  const idle = await look();
  tell(`memory: under load for ${loadSeconds} s`);
  const { clients } = await runFleet(ground, {
    subject: 'skylinedb',
    target: { socket: daemon.socket, files },
    pids: [daemon.pid],
    work: { load: 'insert', clients: CLIENTS, inFlight: IN_FLIGHT, databases: 1 },
    warmSeconds: 0,
    seconds: loadSeconds,
  });
  const loaded = await look();
  await sleep(restSeconds * 1000);
  const rested = await look();
  skyline.close();
  await daemon.stop();
  const acknowledged = clients.reduce((sum, client) => sum + client.acknowledged, 1);
  const found = countFiles(files, 'insert');
  ground.remove(folder);
  return {
    loadSeconds,
    restSeconds,
    idle,
    loaded,
    rested,
    mismatches: found === acknowledged ? [] : [`${found} in the file, but ${acknowledged} were acknowledged`],
  };
}
