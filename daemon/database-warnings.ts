import type { DatabaseWarning } from '../protocol/messages.js';
import type { Logger } from './log.js';
import { networkFileSystem } from './network-file-system.js';

/** What a person should know about where a database lies. Looked at once, told in the log once, and in every Status. */
export class DatabaseWarnings {
  readonly #path: string;
  readonly #log: Logger;
  #looked = false;
  #list: readonly DatabaseWarning[] = [];

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  get list(): readonly DatabaseWarning[] {
    return this.#list;
  }

  /** Waits for nothing: a file server that does not answer must not keep a batch waiting. */
  look(): void {
    if (this.#looked) return;
    this.#looked = true;
    void networkFileSystem(this.#path).then((name) => {
      if (name === null) return;
      const message = `The file lies on a network file system (${name}). SQLite's WAL works on one machine only, and such file systems may not keep its locks: programs on other machines that open the file can damage it. Move it to a local disk, or see that only this machine opens it.`;
      this.#list = [{ code: 'NETWORK_FILE_SYSTEM', message }];
      this.#log.warn({ file_system: name }, message);
    });
  }
}
