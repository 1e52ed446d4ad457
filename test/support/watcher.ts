import type { Playground } from './playground.js';
import type { Message, Wire } from './wire.js';

/** A connection of its own that has subscribed, by hand, and what it is told. */
export class Watcher {
  readonly wire: Wire;
  readonly reply: Message;

  private constructor(wire: Wire, reply: Message) {
    this.wire = wire;
    this.reply = reply;
  }

  static async open(playground: Playground, db: string, more: Message = {}): Promise<Watcher> {
    const wire = await playground.wire();
    const reply = await wire.request({ type: 'Subscribe', db, ...more });
    if (reply.status !== 'ok') throw new Error(JSON.stringify(reply));
    return new Watcher(wire, reply);
  }

  /** The next event; throws if the connection has ended. */
  async next(): Promise<Message> {
    const event = await this.wire.next();
    if (event === null) throw new Error('the connection ended while an event was waited for');
    return event;
  }

  /** The next ones. */
  async take(count: number): Promise<Message[]> {
    const events: Message[] = [];
    while (events.length < count) events.push(await this.next());
    return events;
  }

  /** All events up to the one that is looked for, which is the last. */
  async until(found: (event: Message) => boolean): Promise<Message[]> {
    const events: Message[] = [];
    do events.push(await this.next());
    while (!found(events.at(-1) as Message));
    return events;
  }
}
