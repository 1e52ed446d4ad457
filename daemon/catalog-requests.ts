import { never } from '../protocol/errors.js';
import type { CatalogRequest } from '../protocol/messages.js';
import { adopt } from './adopt.js';
import type { Asker } from './database-requests.js';
import type { Databases } from './databases.js';
import type { NamedDatabases } from './named-databases.js';

/** Carries out what is asked of the catalog. */
export class CatalogRequests {
  readonly #databases: Databases;
  readonly #named: NamedDatabases;
  #open = 0;

  constructor(databases: Databases, named: NamedDatabases) {
    this.#databases = databases;
    this.#named = named;
  }

  /** Whether a request has no answer yet. */
  get atWork(): boolean {
    return this.#open > 0;
  }

  /**
   * @returns the reply's fields
   * @throws SkylineError
   */
  async answer(request: CatalogRequest, asker: Asker): Promise<object> {
    this.#open += 1;
    try {
      return await this.#answer(request, asker);
    } finally {
      this.#open -= 1;
    }
  }

  async #answer(request: CatalogRequest, asker: Asker): Promise<object> {
    switch (request.type) {
      case 'CreateDatabase':
        return await this.#named.create(request);
      case 'AlterDatabase':
        return await this.#named.alter(request);
      case 'DropDatabase':
        return await this.#named.drop(request, asker);
      case 'RenameDatabase':
        return await this.#named.rename(request, asker);
      case 'RestoreDatabase':
        return await this.#named.restore(request);
      case 'ListDatabases':
        return await this.#named.list();
      case 'AdoptDirectory':
        return await adopt(this.#databases, this.#databases.checkFolder(request.dir), asker.id, (event) =>
          asker.event(event),
        );
      default:
        return never(request);
    }
  }
}
