"""One database: writes go through the daemon, a reader reads the file directly."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence

from .batch import BatchResult, BatchStatement, ExecResult, Statement, decode_batch, decode_exec, encode_batch, milliseconds
from .connection import OnProgress
from .reader import Reader
from .transaction import Transaction, transaction
from .values import Params, SqlOutput

if TYPE_CHECKING:
    from .client import Client


def is_bare_name(db: str) -> bool:
    """Whether it is the name of a database: whatever has no slash and no dot is none of a file."""
    return db != "" and re.search(r"[\\/.:\0]", db) is None


class Database:
    """One database, by its file. Use :meth:`Client.database`."""

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        #: The file's absolute path; of a database that has a name, the name.
        self.path = path

    def exec(
        self,
        sql: str,
        params: Optional[Params] = None,
        *,
        durable: Optional[bool] = None,
        expect_rev: Optional[int] = None,
        expect_epoch: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> ExecResult:
        """Runs one statement in a transaction of its own: its rows too, for RETURNING, or to read behind one's writes.

        :raises SkylineError: ``SQL_ERROR`` with ``details["sqlite_code"]``, and the codes of :meth:`batch`
        """
        fields = encode_batch(
            [Statement(sql, params)],
            durable=durable,
            expect_rev=expect_rev,
            expect_epoch=expect_epoch,
            timeout=timeout,
        )
        return decode_exec(self._client.batch(self.path, fields, timeout))

    def run(self, sql: str, params: Optional[Params] = None, *, timeout: Optional[float] = None) -> ExecResult:
        """Runs one statement for its effect; the same as :meth:`exec`."""
        return self.exec(sql, params, timeout=timeout)

    def run_many(self, sql: str, param_sets: Sequence[Params], *, timeout: Optional[float] = None) -> ExecResult:
        """Runs one statement for each set of parameters, all in one transaction."""
        fields = encode_batch([Statement(sql, param_sets=param_sets)], timeout=timeout)
        return decode_exec(self._client.batch(self.path, fields, timeout))

    def all(
        self, sql: str, params: Optional[Params] = None, *, timeout: Optional[float] = None
    ) -> List[Dict[str, SqlOutput]]:
        """The rows of one statement, by their columns' names."""
        return self.exec(sql, params, timeout=timeout).dicts()

    def batch(
        self,
        statements: Sequence[BatchStatement],
        *,
        tx: Optional[str] = None,
        durable: Optional[bool] = None,
        expect_rev: Optional[int] = None,
        expect_epoch: Optional[int] = None,
        timeout: Optional[float] = None,
        results: Optional[bool] = None,
    ) -> BatchResult:
        """Runs statements as one transaction: all of them or none.

        :param tx: ``"none"``: each statement on its own, up to the first error; the only place for VACUUM
        :param durable: on disk before the answer, whatever the daemon's ``--durability``
        :param expect_rev: with ``expect_epoch`` compare-and-set: ``EXPECTATION_FAILED`` unless the database is there
        :param timeout: seconds after which the daemon gives the batch up, a running statement included
        :param results: False leaves the statements' results out
        :raises SkylineError: with ``code``, ``outcome`` and ``details``
        """
        fields = encode_batch(
            statements,
            tx=tx,
            durable=durable,
            expect_rev=expect_rev,
            expect_epoch=expect_epoch,
            timeout=timeout,
            results=results,
        )
        return decode_batch(self._client.batch(self.path, fields, timeout))

    @contextmanager
    def transaction(
        self,
        *,
        read: Optional[bool] = None,
        durable: Optional[bool] = None,
        lease: Optional[float] = None,
        longest: Optional[float] = None,
        timeout: Optional[float] = None,
    ) -> Iterator[Transaction]:
        """A transaction to read, decide and write in: committed at the end of the block, rolled back when the block raises.

        ::

            with db.transaction() as tx:
                (row,) = tx.all("SELECT count FROM stock WHERE item = ?", ["tea"])
                tx.run("UPDATE stock SET count = ? WHERE item = ?", [decide(row["count"]), "tea"])

        All others who write wait meanwhile, this database's own ``exec`` in other threads too: in the block, use ``tx`` alone.

        :param read: a consistent snapshot to read, for which nobody waits
        :param lease: seconds without use after which the daemon rolls it back; 5 by default
        :param longest: seconds after which it does so in any case; at most 60, which is the default
        :param timeout: seconds to wait for its turn
        :raises SkylineError: ``TX_EXPIRED`` when it has ended before the block: then nothing of it was applied
        """
        options = {"lease": lease, "max": longest, "timeout": timeout}
        flags = {"read": read, "durable": durable}
        with self._client.lane() as lane:
            with transaction(self._client, self._client.exactly_once, lane, self.path, options, flags) as tx:
                yield tx

    def reader(self, busy_timeout: float = 5.0) -> Reader:
        """A direct, read-only connection to the file. It sees every write whose answer has arrived.

        :param busy_timeout: seconds to wait while SQLite is briefly locked
        :raises SkylineError: ``DATABASE_NOT_FOUND`` while the file does not exist
        """
        return Reader(self._file(), busy_timeout)

    def ping(self, timeout: Optional[float] = None) -> Dict[str, Any]:
        """Where the database stands: ``db_path``, ``exists``, ``state``, ``rev``, ``epoch``. Creates nothing."""
        return self._client.request({"type": "Ping", "db": self.path}, timeout=timeout)

    @contextmanager
    def maintenance(self, timeout: Optional[float] = None) -> Iterator[str]:
        """Closes the database for everybody, and reopens it at the end. Meanwhile the file may be copied or replaced.

        ::

            with db.maintenance() as path:
                shutil.copyfile(path, "copy.db")

        :param timeout: seconds for readers to leave; default 5
        :raises SkylineError: ``CHECKPOINT_BUSY`` when a reader does not leave in time: then nothing was done
        """
        path = self._file()
        self.close(timeout)
        try:
            yield path
        finally:
            self.reopen()

    def prepare(self, timeout: Optional[float] = None) -> None:
        """Finishes what is queued, refuses new writes, brings the WAL into the main file. :meth:`reopen` ends it."""
        self._maintain("PrepareForMaintenance", {"timeout_ms": milliseconds(timeout)})

    def close(self, timeout: Optional[float] = None) -> None:
        """Closes the file for everybody until :meth:`reopen`, across all restarts."""
        self._maintain("CloseDatabase", {"timeout_ms": milliseconds(timeout)})

    def reopen(self, *, allow_missing: Optional[bool] = None) -> Dict[str, Any]:
        """Opens a closed database: ``reopened``, ``rev``, ``epoch``.

        :param allow_missing: the file is gone for good: the next write makes a new one
        """
        return self._maintain("ReopenDatabase", {"allow_missing": allow_missing})

    def replace(
        self,
        file: "str | os.PathLike[str]",
        *,
        timeout: Optional[float] = None,
        on_progress: Optional[OnProgress] = None,
    ) -> Dict[str, Any]:
        """Puts a copy of another file in the database's place, in one step for everybody: ``rev``, ``epoch``, ``backup``.

        :param file: relative to this process's working directory; it is neither moved nor changed
        """
        fields = {"from": os.path.abspath(file), "timeout_ms": milliseconds(timeout)}
        return self._maintain("ReplaceDatabase", fields, on_progress)

    def backup(
        self,
        to: "str | os.PathLike[str]",
        *,
        overwrite: Optional[bool] = None,
        on_progress: Optional[OnProgress] = None,
    ) -> Dict[str, Any]:
        """Copies the database while it goes on being written: ``pages``, ``bytes``.

        :param to: relative to this process's working directory
        """
        return self._maintain("Backup", {"to": os.path.abspath(to), "overwrite": overwrite}, on_progress)

    def checkpoint(self, mode: Optional[str] = None) -> Dict[str, Any]:
        """https://sqlite.org/pragma.html#pragma_wal_checkpoint: ``log``, ``checkpointed``, ``busy``."""
        return self._maintain("Checkpoint", {"mode": mode})

    def _file(self) -> str:
        return str(self.ping()["db_path"]) if is_bare_name(self.path) else self.path

    def _maintain(
        self, kind: str, fields: Mapping[str, Any], on_progress: Optional[OnProgress] = None
    ) -> Dict[str, Any]:
        given = {name: value for name, value in fields.items() if value is not None}
        return self._client.request({"type": kind, "db": self.path, **given}, on_progress=on_progress)
