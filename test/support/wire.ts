import { connect, type Socket } from 'node:net';

/** A reply or an event as it arrived. */
export type Message = { readonly [field: string]: unknown };

/**
 * The protocol by hand, on node:net: nothing of the project's own code, so that a test of the wire tests the wire.
 */
export class Wire {
  readonly socket: Socket;
  readonly #inbox: Message[] = [];
  readonly #takers: ((message: Message | null) => void)[] = [];
  /** Requests of this class' own that have no reply yet, by their ids. */
  readonly #asked = new Map<unknown, (reply: Message | null) => void>();
  /** The text of the last frame that arrived, for what JSON.parse does not show: 2.0 is not 2. */
  lastText = '';
  /** `working` events. */
  signsOfLife = 0;
  #chunks: Buffer[] = [];
  #buffered = 0;
  /** Bytes that make reading worth while: joining at every chunk would cost seconds for a large frame. */
  #wanted = 4;
  #ended = false;
  #nextId = 1;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#ended = true;
      for (const take of [...this.#asked.values(), ...this.#takers.splice(0)]) take(null);
      this.#asked.clear();
    });
  }

  static connect(path: string): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.removeListener('error', reject);
        resolve(new Wire(socket));
      });
    });
  }

  /** One frame of JSON. */
  static frame(message: unknown): Buffer {
    const payload = Buffer.from(JSON.stringify(message));
    const header = Buffer.alloc(4);
    header.writeUInt32LE(payload.length);
    return Buffer.concat([header, payload]);
  }

  send(message: unknown): void {
    this.socket.write(Wire.frame(message));
  }

  raw(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  /** The next message that is no reply to a `request`, in the order of arrival; null when the daemon has ended the connection. */
  next(): Promise<Message | null> {
    const first = this.#inbox.shift();
    if (first !== undefined) return Promise.resolve(first);
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  /** Sends a request with an id of its own and returns its reply. Many may be in flight; what else arrives is for `next`. */
  async request(message: Message): Promise<Message> {
    const id = `w${this.#nextId}`;
    this.#nextId += 1;
    this.send({ ...message, id });
    const reply = this.#ended ? null : await new Promise<Message | null>((take) => this.#asked.set(id, take));
    if (reply !== null) return reply;
    throw new Error(`the connection ended before the answer to ${JSON.stringify(message).slice(0, 200)}`);
  }

  /** An `ExecBatch`. */
  exec(db: string | undefined, stmts: readonly unknown[], more: Message = {}): Promise<Message> {
    const list = stmts.map((stmt) => (typeof stmt === 'string' ? { sql: stmt } : stmt));
    return this.request({ type: 'ExecBatch', ...(db === undefined ? {} : { db }), stmts: list, ...more });
  }

  /** The rows of the last statement of a batch that must succeed. */
  async rows(db: string, sql: string, params: readonly unknown[] = []): Promise<unknown[][]> {
    const reply = await this.exec(db, [{ sql, params }]);
    if (reply.status !== 'ok') throw new Error(JSON.stringify(reply));
    return (reply.results as { rows: unknown[][] }[]).at(-1)?.rows ?? [];
  }

  destroy(): void {
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    if (this.#buffered < this.#wanted) return;
    let bytes = Buffer.concat(this.#chunks);
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32LE(0)) {
      const end = 4 + bytes.readUInt32LE(0);
      this.lastText = bytes.subarray(4, end).toString('utf8');
      this.#deliver(JSON.parse(this.lastText) as Message);
      bytes = bytes.subarray(end);
    }
    this.#wanted = bytes.length < 4 ? 4 : 4 + bytes.readUInt32LE(0);
    this.#chunks = [bytes];
    this.#buffered = bytes.length;
  }

  #deliver(message: Message): void {
    // May come to any half-closed connection, when the machine is slow.
    if (message.event === 'working') {
      this.signsOfLife += 1;
      return;
    }
    const asked = 'status' in message ? this.#asked.get(message.id) : undefined;
    if (asked !== undefined) this.#asked.delete(message.id);
    const take = asked ?? this.#takers.shift();
    if (take === undefined) this.#inbox.push(message);
    else take(message);
  }
}
