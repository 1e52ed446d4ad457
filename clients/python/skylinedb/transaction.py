"""Transactions that stay open: read, decide, write, while all others who write wait (docs/protocol.md, section 7)."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence

from .batch import (
    BatchResult,
    BatchStatement,
    ExecResult,
    Statement,
    decode_batch,
    decode_exec,
    encode_batch,
    milliseconds,
    unexpected,
)
from .connection import Connection, Deadline
from .errors import SkylineError
from .lane import Lane
from .values import Params, SqlOutput

if TYPE_CHECKING:
    from .client import Client

#: Times that one is begun again which the daemon could not begin, and that it is asked what became of a commit.
_MAX_TRIES = 20
_PAUSE = 0.05
_NOT_THERE = ("CONNECTION_LOST", "SHUTTING_DOWN", "WORKER_CRASHED")


class Transaction:
    """A transaction that is open in the daemon, on a connection of its own. Use :meth:`Database.transaction`.

    A statement that fails leaves it as it was, unless the error has ``details["tx_ended"]``. For one thread at a time.
    """

    def __init__(self, db: str, connection: Connection, begun: Mapping[str, Any]) -> None:
        if not isinstance(begun.get("tx"), str):
            raise unexpected("tx")
        self._db = db
        self._connection = connection
        self._begun = begun
        #: Its connection is somebody else's then.
        self._over = False

    def exec(self, sql: str, params: Optional[Params] = None, *, timeout: Optional[float] = None) -> ExecResult:
        """Runs one statement; its rows show what this transaction has done before.

        :raises SkylineError: ``TX_EXPIRED`` when the transaction is over: then nothing of it was applied
        """
        return decode_exec(self._step(encode_batch([Statement(sql, params)], timeout=timeout), timeout))

    def run(self, sql: str, params: Optional[Params] = None, *, timeout: Optional[float] = None) -> ExecResult:
        """The same as :meth:`exec`."""
        return self.exec(sql, params, timeout=timeout)

    def all(self, sql: str, params: Optional[Params] = None) -> List[Dict[str, SqlOutput]]:
        """The rows of one statement, by their columns' names."""
        return self.exec(sql, params).dicts()

    def batch(self, statements: Sequence[BatchStatement], *, timeout: Optional[float] = None) -> BatchResult:
        """Runs statements, all of them or none."""
        return decode_batch(self._step(encode_batch(statements, timeout=timeout), timeout))

    def _step(self, fields: Mapping[str, Any], timeout: Optional[float]) -> Mapping[str, Any]:
        try:
            return self._request("Exec", fields, Deadline.after(None if timeout is None else timeout + 5))
        except SkylineError as error:
            if error.code == "CONNECTION_LOST":
                raise _gone() from error
            raise

    def _request(self, kind: str, fields: Mapping[str, Any], deadline: Deadline) -> Dict[str, Any]:
        if self._over:
            raise SkylineError("TX_EXPIRED", "This transaction is over: its block has ended. Begin a new one.")
        if self._connection.closed:
            raise _gone()
        return self._connection.request(
            {"type": kind, "db": self._db, "tx": self._begun["tx"], **fields}, deadline
        )

    def _commit(self, client: Client, exactly_once: bool) -> None:
        # A session for this commit alone: it has no later number that could be recorded before.
        numbers = {"session": str(uuid.uuid4()), "seq": 1} if exactly_once else {}
        try:
            self._request("Commit", numbers, Deadline())
        except SkylineError as error:
            if error.outcome != "unknown" or not numbers:
                raise
            self._ask(client, numbers, error)

    def _ask(self, client: Client, numbers: Mapping[str, Any], lost: SkylineError) -> None:
        """What became of a commit whose answer is lost."""
        begun = self._begun
        file = {"session_epoch": begun.get("epoch"), "session_rev": begun.get("rev")}
        if isinstance(begun.get("database"), str):
            file["session_database"] = begun["database"]
        message = {"type": "Commit", "db": self._db, "tx": begun["tx"], **numbers, **file, "only_replay": True}
        for tries in range(1, _MAX_TRIES + 1):
            try:
                client.request(message)
                return
            except SkylineError as error:
                conflict = error.code == "SESSION_CONFLICT" and error.details.get("expected") is None
                if error.outcome == "not_applied" and (error.code == "TX_EXPIRED" or conflict):
                    raise _gone() from lost
                if tries == _MAX_TRIES or error.code not in _NOT_THERE:
                    raise SkylineError(
                        lost.code,
                        "Whether the transaction was committed is unknown: the answer is lost, and it could not be asked. "
                        f"{error.message} Look before you do it again.",
                        outcome="unknown",
                    ) from error
                time.sleep(_PAUSE)

    def _rollback(self) -> None:
        if self._connection.closed:
            return
        try:
            self._request("Rollback", {}, Deadline.after(5))
        except SkylineError as error:
            if error.code != "TX_EXPIRED":
                self._connection.close()  # It ends with its connection.


@contextmanager
def transaction(
    client: Client, exactly_once: bool, lane: Lane, db: str, options: Mapping[str, Optional[float]], flags: Mapping[str, Any]
) -> Iterator[Transaction]:
    """Commits at the end of the block; rolls back when the block raises."""
    fields: Dict[str, Any] = {f"{name}_ms": milliseconds(seconds) for name, seconds in options.items()}
    fields.update(flags)
    message = {name: value for name, value in fields.items() if value is not None}
    tx = _begin(lane, db, message)
    try:
        try:
            yield tx
        except BaseException:
            tx._rollback()
            raise
        tx._commit(client, exactly_once and not flags.get("read"))
    finally:
        tx._over = True


def _begin(lane: Lane, db: str, fields: Mapping[str, Any]) -> Transaction:
    for tries in range(1, _MAX_TRIES + 1):
        connection = lane.connection(Deadline())
        try:
            return Transaction(db, connection, connection.request({"type": "BeginTx", "db": db, **fields}, Deadline()))
        except SkylineError as error:
            # One that was only begun has done nothing.
            if tries == _MAX_TRIES or error.code not in ("CONNECTION_LOST", "SHUTTING_DOWN"):
                raise
            lane.leave()
        except BaseException:
            # It may begin yet: that ends with the connection.
            lane.leave()
            raise
    raise AssertionError("the last try returns or raises")


def _gone() -> SkylineError:
    return SkylineError(
        "TX_EXPIRED",
        "This transaction is over: its connection was lost, and nothing of it was applied. Begin a new one.",
    )
