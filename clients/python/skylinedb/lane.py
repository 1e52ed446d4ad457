"""One way to the daemon, with one request at a time, and what makes its batches known again (exactly once).

A lane is a connection that is made anew when it is lost, and a session of its own. A batch that has lost its answer is
sent again under its number until the daemon says what became of it; the rules are those of the Node.js library.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Mapping, Optional

from .connection import Connection, Deadline, OnProgress
from .errors import SkylineError, connection_lost, no_answer

#: The daemon answers by the batch's timeout; so many seconds later its silence is an answer too.
_ANSWER_GRACE = 5.0
#: Daemons that end so often while one batch waits have another problem.
_MAX_REPEATS = 20
#: Refusals behind which the daemon had looked whether the batch was applied before.
_LOOKED = frozenset(
    {"SQL_ERROR", "STATEMENT_NOT_ALLOWED", "EXPECTATION_FAILED", "INVALID_REQUEST", "RESULT_TOO_LARGE"}
)


@dataclass(frozen=True)
class Seen:
    """Where a database stood by an answer, and which one it was, once that was told."""

    epoch: int
    rev: int
    database: Optional[str]


@dataclass
class Session:
    """One database's batches of one lane."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    #: Every answer up to this number has arrived, or will never be asked for again.
    last_seq: int = 0


@dataclass
class _Batch:
    """A batch on its way."""

    session: Session
    seq: int
    #: Until when it may be run; later it is only asked what became of it.
    deadline: Deadline
    #: It was sent over a connection that ended before the answer.
    perhaps_applied: bool = False
    #: The file that was there then: nowhere else it is to be applied.
    seen: Optional[Seen] = None
    #: The daemon has given it up without knowing what became of it: its record tells.
    given_up: Optional[SkylineError] = None
    #: It was sent last to be told what became of it, not to be run.
    asked: bool = False


class Lane:
    """For one thread at a time."""

    def __init__(self, connect: Callable[[Deadline], Connection], exactly_once: bool) -> None:
        self._connect = connect
        self._exactly_once = exactly_once
        self._connection: Optional[Connection] = None
        self._sessions: Dict[str, Session] = {}

    def batch(
        self,
        db: str,
        fields: Mapping[str, Any],
        timeout: Optional[float],
        seen: Dict[str, Seen],
    ) -> Mapping[str, Any]:
        """Sends a batch until it is known what became of it.

        :param timeout: seconds that the daemon has for it
        :param seen: where each database stood by the latest answer
        :raises SkylineError: the daemon's; ``TIMEOUT`` and ``CONNECTION_LOST`` say in ``outcome`` what is known
        """
        session = self._sessions.setdefault(db, Session())
        session.last_seq += 1
        batch = _Batch(session, session.last_seq, Deadline.after(timeout))
        patience = Deadline.after(None if timeout is None else timeout + _ANSWER_GRACE)
        for repeats in range(_MAX_REPEATS + 1):
            connection = self._reach(batch, patience)
            message = {"type": "ExecBatch", "db": db, **self._numbers(batch, db in seen and seen[db].database is not None), **fields}
            try:
                reply = connection.request(message, patience)
                break
            except SkylineError as error:
                # After its own answers the daemon keeps the connection: else it is this side that has given up waiting.
                if patience.passed and connection.closed:
                    unknown = batch.perhaps_applied or error.outcome == "unknown"
                    raise no_answer(timeout or 0, "unknown" if unknown else "not_applied") from error
                if repeats == _MAX_REPEATS or not self._repeatable(batch, db, error, seen):
                    raise _explain(batch, error) from error.__cause__
        _see(seen, db, reply)
        return reply

    def request(
        self, message: Mapping[str, Any], deadline: Deadline, on_progress: Optional[OnProgress] = None
    ) -> Dict[str, Any]:
        """Sends any other request, once."""
        return self.connection(deadline).request(message, deadline, on_progress)

    def connection(self, deadline: Deadline) -> Connection:
        """The connection, made anew if it has ended."""
        if self._connection is None or not self._connection.is_alive():
            self._connection = self._connect(deadline)
        return self._connection

    def leave(self) -> None:
        """The daemon at the other end takes nothing more: the next one is to be found."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def interrupt(self) -> None:
        """Ends the connection from another thread."""
        if self._connection is not None:
            self._connection.interrupt()

    def _reach(self, batch: _Batch, patience: Deadline) -> Connection:
        try:
            return self.connection(patience)
        except SkylineError as error:
            if batch.perhaps_applied:
                raise connection_lost("no daemon can be reached to ask what became of it") from error
            raise

    def _numbers(self, batch: _Batch, knows_database: bool) -> Dict[str, Any]:
        """What makes a batch known again."""
        if not self._exactly_once:
            return {}
        numbers: Dict[str, Any] = {"session": batch.session.id, "seq": batch.seq, "acked": batch.seq - 1}
        if not knows_database:
            numbers["session_database"] = True  # The answer tells it then.
        if batch.perhaps_applied:
            # Another file may be there by now, which knows nothing of what the old one has applied.
            if batch.seen is not None:
                numbers.update(session_epoch=batch.seen.epoch, session_rev=batch.seen.rev)
                if batch.seen.database is not None:
                    numbers["session_database"] = batch.seen.database
            # Its time is over, or it kills workers: what became of it is all that is asked.
            batch.asked = batch.given_up is not None or batch.deadline.passed
            if batch.asked:
                numbers["only_replay"] = True
        return numbers

    def _repeatable(self, batch: _Batch, db: str, error: SkylineError, seen: Dict[str, Seen]) -> bool:
        """Whether a batch without a final answer may be sent again, and how."""
        if error.code == "SHUTTING_DOWN":
            self.leave()
            return True
        if error.code == "CONNECTION_LOST":
            if error.outcome == "not_applied":
                return True
            _doubt(batch, seen.get(db))
            return self._exactly_once
        if error.code == "SESSION_CONFLICT" and self._exactly_once:
            # The file knows something else of this session. What was never in hand may begin a new one.
            self._sessions[db] = Session(last_seq=1)
            seen.pop(db, None)
            if not batch.perhaps_applied:
                batch.session, batch.seq = self._sessions[db], 1
            return not batch.perhaps_applied
        if error.code in ("WORKER_CRASHED", "TIMEOUT") and self._exactly_once:
            # Asked, it was not run: whatever those workers died of, the next one may tell. A TIMEOUT is the answer then.
            if batch.asked:
                return error.code == "WORKER_CRASHED"
            if error.outcome != "unknown" and not batch.perhaps_applied:
                return False
            _doubt(batch, seen.get(db))
            batch.given_up = error
            return True
        return False


def _doubt(batch: _Batch, seen: Optional[Seen]) -> None:
    """It may have been applied, to the file that was there: another one knows nothing of that."""
    if not batch.perhaps_applied:
        batch.perhaps_applied, batch.seen = True, seen


def _see(seen: Dict[str, Seen], db: str, reply: Mapping[str, Any]) -> None:
    epoch, rev, database = reply.get("epoch"), reply.get("rev"), reply.get("database")
    if not isinstance(epoch, int) or not isinstance(rev, int):
        return
    told = database if isinstance(database, str) else None
    before = seen.get(db)
    if before is None or epoch > before.epoch:
        seen[db] = Seen(epoch, rev, told)
    elif epoch == before.epoch:
        seen[db] = Seen(epoch, max(rev, before.rev), told or before.database)


def _explain(batch: _Batch, error: SkylineError) -> SkylineError:
    """``not_applied`` speaks of the last sending: what became of those before is known only where the daemon has looked."""
    if not batch.perhaps_applied or error.outcome != "not_applied":
        return error
    conflict = error.code == "SESSION_CONFLICT"
    other_file = conflict and error.details.get("expected") is not None
    # Nothing is recorded, or later batches are: it was not applied, and never will be.
    if batch.asked and (error.code == "TIMEOUT" or (conflict and not other_file)):
        if batch.given_up is None:
            return error
        given_up = batch.given_up
        return SkylineError(given_up.code, given_up.message, details=given_up.details)
    if error.code in _LOOKED or error.details.get("replayed") is True or (conflict and not other_file):
        return error
    return SkylineError(
        error.code,
        f"{error.message} Whether it was applied when it was sent before is unknown.",
        outcome="unknown",
        details=error.details,
    )
