"""The client: who reaches the daemon, and how many threads share it."""

from __future__ import annotations

import os
import threading
import time
import warnings
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Type

from ._version import __version__
from .batch import milliseconds, whole
from .connection import Connection, Deadline, OnProgress
from .database import Database, is_bare_name
from .endpoint import Surroundings, resolve_endpoint
from .errors import SkylineError, closed_client, invalid_request, no_daemon
from .lane import Lane, Seen
from .reach import Target, reach_daemon

PROTOCOL_VERSION = 1
#: Seconds between two looks at whether a leaving daemon has gone.
_LEAVING_POLL = 0.02
#: Lanes that are kept for the next ones: each is a connection.
_MAX_IDLE = 16


def connect(
    socket: Optional[str] = None,
    *,
    auto_start: bool = True,
    start_timeout: float = 10.0,
    daemon: Sequence[str] = (),
    daemon_args: Sequence[str] = (),
    exactly_once: bool = True,
    name: str = "python",
) -> Client:
    """Connects to the daemon of this user, starting it when there is none.

    ::

        with connect() as sky:
            db = sky.database("stars.db")
            db.run("INSERT INTO stars (name) VALUES (?)", ["Sirius"])

    :param socket: the endpoint; else ``SKYLINEDB_SOCKET``, else the user's own place
    :param auto_start: whether to start a daemon when none runs
    :param start_timeout: seconds to wait for a daemon to start
    :param daemon: the program that starts it and its first arguments; else ``skylinedb-daemon`` on the PATH
    :param daemon_args: further arguments for it, such as ``["--durability", "full"]``
    :param exactly_once: whether each batch is numbered, so that it is sent again by itself and applied once
    :param name: the application's name, for the daemon's log
    :raises SkylineError: ``NO_DAEMON`` with the reason, ``VERSION_MISMATCH``, ``INVALID_REQUEST`` for an option
    """
    if isinstance(daemon, str) or isinstance(daemon_args, str):
        raise invalid_request('"daemon" and "daemon_args" are lists of strings.')
    milliseconds(start_timeout)
    around = Surroundings()
    endpoint = resolve_endpoint(around, socket)
    client = Client(
        Target(endpoint, around, auto_start, start_timeout, tuple(daemon), tuple(daemon_args)), exactly_once, name
    )
    client.ping()
    return client


class Client:
    """The way to the daemon. It comes back by itself after the daemon has ended; any number of threads may share it.

    A request takes a *lane*: a connection that serves one request at a time. Threads that ask at once have a lane each,
    so that nobody waits for another's backup, and the daemon commits what they write together. After ``fork`` the child
    makes connections of its own. Use :func:`connect`.
    """

    def __init__(self, target: Target, exactly_once: bool, name: str) -> None:
        self._target = target
        self._exactly_once = exactly_once
        self._name = name
        self._closed = False
        self._seen: Dict[str, Seen] = {}
        self._daemon: Mapping[str, Any] = {}
        self._fresh()

    @property
    def endpoint(self) -> str:
        """Where the daemon listens."""
        return self._target.endpoint

    @property
    def daemon(self) -> Mapping[str, Any]:
        """What the daemon said of itself when the latest connection was made: ``version``, ``pid``, ``limits``."""
        return self._daemon

    def database(self, file: "str | os.PathLike[str]") -> Database:
        """A database, by its name or its file. Opens nothing yet.

        :param file: a name that :meth:`create_database` has made (``stars``), or a path, which has a dot or a slash
            (``stars.db``, ``./stars``). A relative path belongs to this process's working directory, as it is now
        """
        return Database(self, _as_sent(file))

    def create_database(
        self, name: str, *, if_not_exists: Optional[bool] = None, settings: Optional[Mapping[str, Any]] = None
    ) -> Dict[str, Any]:
        """Makes a database with a name, in the daemon's data directory: ``created``, ``db_path``.

        :param settings: what it has differently from the daemon, by its names in docs/protocol.md: ``{"durability": "full"}``
        :raises SkylineError: ``DATABASE_EXISTS``; ``INVALID_REQUEST`` for a name that cannot be one
        """
        return self._catalog("CreateDatabase", name=name, if_not_exists=if_not_exists, settings=settings)

    def drop_database(
        self, name: str, *, if_exists: Optional[bool] = None, force: Optional[bool] = None
    ) -> Dict[str, Any]:
        """Drops a database; its file can be restored for 7 days.

        :raises SkylineError: ``DATABASE_IN_USE`` says who uses it; ``DATABASE_NOT_FOUND``
        """
        return self._catalog("DropDatabase", name=name, if_exists=if_exists, force=force)

    def rename_database(self, name: str, to: str, *, force: Optional[bool] = None) -> Dict[str, Any]:
        """Gives a database another name; it keeps its rev and epoch."""
        return self._catalog("RenameDatabase", name=name, to=to, force=force)

    def restore_database(self, name: str) -> Dict[str, Any]:
        """Brings the database back that was dropped last under this name."""
        return self._catalog("RestoreDatabase", name=name)

    def databases(self) -> Dict[str, Any]:
        """Every database that has a name (``databases``), and those that can be restored (``dropped``)."""
        return self._catalog("ListDatabases")

    def ping(self, timeout: Optional[float] = None) -> Dict[str, Any]:
        """Is the daemon there? ``version``, ``pid``, ``uptime_ms``."""
        return self.request({"type": "Ping"}, timeout=timeout)

    def status(self, file: "Optional[str | os.PathLike[str]]" = None, timeout: Optional[float] = None) -> Dict[str, Any]:
        """Figures of the daemon and of every database that it knows, or of one (docs/protocol.md, Status)."""
        db = {} if file is None else {"db": _as_sent(file)}
        return self.request({"type": "Status", **db}, timeout=timeout)

    def shutdown(self, timeout: Optional[float] = None) -> None:
        """Ends the daemon once everything that it has accepted is finished. The next request starts a new one."""
        self.request({"type": "Shutdown"}, timeout=timeout)

    def request(
        self,
        message: Mapping[str, Any],
        *,
        timeout: Optional[float] = None,
        on_progress: Optional[OnProgress] = None,
    ) -> Dict[str, Any]:
        """Sends one request of the protocol and returns its reply.

        A daemon that refuses because it is leaving has done nothing: its successor is asked.

        :param timeout: seconds to wait for the answer
        :raises SkylineError: the daemon's; after ``CONNECTION_LOST`` and ``TIMEOUT`` the outcome may be unknown
        """
        milliseconds(timeout)
        deadline = Deadline.after(timeout)
        until = Deadline.after(self._target.start_timeout)
        with self.lane() as lane:
            while True:
                try:
                    reply = lane.request(message, deadline, on_progress)
                    return {name: value for name, value in reply.items() if name not in ("status", "id")}
                except SkylineError as error:
                    leaving = error.code == "SHUTTING_DOWN" and self._target.auto_start
                    # The daemon died while it was asked, and the request did nothing, or changes nothing.
                    harmless = error.outcome == "not_applied" or message["type"] in ("Ping", "Status")
                    died = error.code == "CONNECTION_LOST" and harmless
                    if until.passed or deadline.passed or not (leaving or died):
                        raise
                    lane.leave()

    def batch(self, db: str, fields: Mapping[str, Any], timeout: Optional[float]) -> Mapping[str, Any]:
        """Sends an ExecBatch, applied once. Use :class:`Database`."""
        with self.lane() as lane:
            return lane.batch(db, fields, timeout, self._seen)

    @property
    def exactly_once(self) -> bool:
        """Whether what is written is numbered, so that it is known again."""
        return self._exactly_once

    @contextmanager
    def lane(self) -> Iterator[Lane]:
        """A lane for one request at a time; it goes back into the pool."""
        if self._closed:
            raise closed_client()
        self._after_fork()
        with self._lock:
            lane = self._idle.pop() if self._idle else Lane(self._connect, self._exactly_once)
            self._busy.add(lane)
        try:
            yield lane
        finally:
            with self._lock:
                self._busy.discard(lane)
                keep = not self._closed and len(self._idle) < _MAX_IDLE
                if keep:
                    self._idle.append(lane)
            if not keep:
                lane.leave()

    def close(self) -> None:
        """Ends all connections; threads that wait get an error. Idempotent."""
        self._closed = True
        self._after_fork()
        with self._lock:
            idle = self._idle.copy()
            self._idle.clear()
            for lane in self._busy:
                lane.interrupt()
        for lane in idle:
            lane.leave()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _catalog(self, kind: str, **fields: Any) -> Dict[str, Any]:
        return self.request({"type": kind, **{name: value for name, value in fields.items() if value is not None}})

    def _after_fork(self) -> None:
        """In a child, the connections are the parent's, and the lock may be held by a thread that is not there."""
        if os.getpid() != self._pid:
            inherited = self._idle
            self._fresh()
            for lane in inherited:
                lane.leave()

    def _fresh(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: List[Lane] = []
        self._busy: Set[Lane] = set()

    def _connect(self, deadline: Deadline) -> Connection:
        """A connection whose daemon is there to stay: a leaving one refuses Hello, and then nothing was sent yet."""
        until = Deadline.after(min(self._target.start_timeout, deadline.left() or self._target.start_timeout))
        client = {"name": self._name, "pid": os.getpid(), "version": __version__}
        hello = {"type": "Hello", "protocol": PROTOCOL_VERSION, "client": client}
        while True:
            if self._closed:
                raise closed_client()
            connection = Connection(reach_daemon(self._target))
            try:
                reply = connection.request(hello, until)
                break
            except SkylineError as error:
                connection.close()
                # It leaves, or has gone, or has too many clients just now.
                if error.code not in ("SHUTTING_DOWN", "CONNECTION_LOST", "QUEUE_FULL") or until.passed:
                    raise _explain(error) from error
                # A leaving daemon may have long work to finish: ask now and then, not all the time.
                time.sleep(_LEAVING_POLL)
        limits = reply.get("limits")
        if isinstance(limits, dict):
            connection.max_frame = whole(limits, "max_frame")
        self._daemon = {name: value for name, value in reply.items() if name not in ("status", "id")}
        _warn_of_old_daemon(reply)
        return connection


def _as_sent(file: "str | os.PathLike[str]") -> str:
    """A path in full; a name, and what is neither, as it is: the daemon refuses that with a reason."""
    path = os.fspath(file)
    if not isinstance(path, str) or path == "":
        raise invalid_request('A database is named by its name or file, for instance "data.db".')
    special = is_bare_name(path) or path == ":memory:" or path.lower().startswith("file:")
    return path if special else os.path.abspath(path)


def _explain(error: SkylineError) -> SkylineError:
    """Nothing was asked yet but Hello."""
    if error.code == "VERSION_MISMATCH":
        return SkylineError(error.code, f"{error.message} This client is skylinedb {__version__} for Python.")
    if error.code == "TIMEOUT":
        return no_daemon(
            "Something listens at the endpoint and does not answer. If it is a daemon that hangs, end its process; "
            "its log is in the state folder."
        )
    return error


def _warn_of_old_daemon(hello: Mapping[str, Any]) -> None:
    version = str(hello.get("version"))
    if _numbers(version) < _numbers(__version__):
        warnings.warn(
            f"The daemon that runs (pid {hello.get('pid')}) is skylinedb {version}, older than this client "
            f'({__version__}). Update it, then run "skylinedb-cli shutdown": the next write starts the new one.',
            RuntimeWarning,
            stacklevel=2,
        )


def _numbers(version: str) -> List[int]:
    return [int(part) if part.isdigit() else 0 for part in version.split("-")[0].split(".")]
