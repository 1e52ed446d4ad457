import { invalidRequest } from '../protocol/errors.js';
import type { Limits, SubscribeRequest } from '../protocol/messages.js';
import type { EventSink, Subscriber } from './change-feed.js';
import type { RoutedDatabase } from './database.js';
import type { DatabaseWatch } from './database-watch.js';

/** A client's connection, as far as events go there. */
export interface Client extends EventSink {
  readonly lane: number;
}

interface Subscription {
  readonly watch: DatabaseWatch;
  readonly subscriber: Subscriber;
}

/** What to answer, and what to do when that is out. */
export interface Answer {
  readonly fields: object;
  begin(): void;
}

/** Who has subscribed to what: each connection numbers its own, and they end with it. */
export class Subscriptions {
  readonly #limits: Limits;
  /** With the number of the next one. Those that are being opened have a place already. */
  readonly #clients = new Map<Client, { next: number; readonly open: Map<number, Subscription | null> }>();
  /** Of all clients. */
  #count = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /**
   * @throws ProtocolError `INVALID_REQUEST` that names the limit; SkylineError when the database cannot be watched
   */
  async subscribe(client: Client, database: RoutedDatabase, request: SubscribeRequest): Promise<Answer> {
    const mine = this.#clients.get(client) ?? { next: 1, open: new Map<number, Subscription | null>() };
    this.#check('max_subscriptions', mine.open.size, 'This connection has');
    this.#check('max_daemon_subscriptions', this.#count, 'The connections to this daemon have');
    this.#clients.set(client, mine);
    const number = mine.next;
    mine.next += 1;
    mine.open.set(number, null);
    this.#count += 1;
    try {
      const watch = database.watch();
      const { subscriber, position } = await watch.open(number, client, request, client.lane);
      if (this.#clients.get(client) === mine) mine.open.set(number, { watch, subscriber });
      else watch.close(subscriber);
      const { rev, epoch } = position;
      return {
        fields: { subscription: number, db_path: database.path, rev, epoch },
        begin: () => watch.start(subscriber),
      };
    } catch (error) {
      if (mine.open.delete(number)) this.#count -= 1;
      throw error;
    }
  }

  /** @throws ProtocolError `INVALID_REQUEST` when the connection has none of this number */
  unsubscribe(client: Client, number: number): void {
    const open = this.#clients.get(client)?.open;
    const subscription = open?.get(number);
    if (!subscription)
      throw invalidRequest(
        `This connection has no subscription ${number}. Its number is in the answer to Subscribe.`,
      );
    open?.delete(number);
    this.#count -= 1;
    subscription.watch.close(subscription.subscriber);
  }

  /** The connection has ended. */
  closed(client: Client): void {
    const mine = this.#clients.get(client);
    if (mine === undefined) return;
    this.#clients.delete(client);
    this.#count -= mine.open.size;
    for (const subscription of mine.open.values()) subscription?.watch.close(subscription.subscriber);
    mine.open.clear();
  }

  #check(limit: 'max_subscriptions' | 'max_daemon_subscriptions', count: number, whose: string): void {
    const most = this.#limits[limit];
    if (count < most) return;
    throw invalidRequest(
      `${whose} ${count} subscriptions; the limit is ${most} (${limit}). Unsubscribe from what is not needed, or filter one subscription on your side.`,
      { limit, limit_value: most },
    );
  }
}
