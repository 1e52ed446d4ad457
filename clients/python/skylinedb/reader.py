"""Reads a database file directly: no daemon, no copy, SQLite's own speed (docs/protocol.md, section 12)."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import threading
import time
import weakref
from types import TracebackType
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Type, TypeVar
from urllib.parse import quote

from .errors import SkylineError, invalid_request
from .values import Params, SqlOutput, by_name, check_value

#: Those with a file open.
_open_readers: "weakref.WeakSet[Reader]" = weakref.WeakSet()

T = TypeVar("T")
Row = Tuple[SqlOutput, ...]

_MAX_TRIES = 50
_PAUSE = 0.005
# When the files were exchanged, there is nothing to wait for.
_QUICK_TRIES = 3
# Moments in which another process opens or closes the database: they pass. By SQLite's texts, since Python tells no codes
# before 3.11. "readonly" means then that the WAL cannot be set up just now.
_PASSING = re.compile(r"database (table )?is locked|unable to open database file|locking protocol|readonly database")

# https://sqlite.org/c3ref/c_alter_table.html
_PRAGMA, _FUNCTION = 19, 31
#: Temporary objects, BEGIN, ATTACH, DETACH, SAVEPOINT: what a connection that cannot write would still do.
_LASTING = frozenset({3, 4, 5, 6, 22, 24, 25, 32})
#: What SQLite itself refuses, since the file is open for reading only; virtual tables declare themselves with some of these.
_WRITING = frozenset({1, 2, 7, 8, 9, 10, 11, 16, 17, 18, 23, 26, 27, 28, 29, 30})
_READING_PRAGMAS = frozenset(
    """table_info table_xinfo table_list index_list index_info index_xinfo foreign_key_list foreign_key_check
    integrity_check quick_check""".split()
)
#: These write, or set something, when they have an argument.
_PLAIN_PRAGMAS = frozenset(
    """page_count page_size freelist_count encoding schema_version data_version database_list collation_list function_list
    module_list pragma_list compile_options user_version application_id journal_mode""".split()
)


class Reader:
    """A read-only connection that follows the file when it is replaced. Threads may share it: they read in turn.

    Use :meth:`Database.reader`.
    """

    def __init__(self, path: str, busy_timeout: float = 5.0) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._db: Optional[sqlite3.Connection] = None
        #: What is open: which file, and which ``-shm``, which it shares with the writer or which was left over.
        self._file: Tuple[str, str] = ("", "")
        #: It has a WAL open: nothing is opened by name any more.
        self._in_wal_mode = False
        #: Of the statement that is being prepared: whether it may not be, and whether it means to write.
        self._refused = self._writes = False
        self._closed = False
        self._lock = threading.RLock()
        self._retrying(self._current)

    def rows(self, sql: str, params: Optional[Params] = None) -> Tuple[List[str], List[Row]]:
        """The columns' names, and all rows as tuples in their order.

        :raises SkylineError: ``SQL_ERROR``; ``STATEMENT_NOT_ALLOWED`` for what would write, or set something
        """
        bound = _bindings(params)

        def read() -> Tuple[List[str], List[Row]]:
            self._refused = self._writes = False
            db = self._current()
            cursor = db.execute(sql, bound)
            try:
                result = [column[0] for column in cursor.description or ()], cursor.fetchall()
            finally:
                cursor.close()
            # Without a WAL so far, it may have opened that of a file which has just come to the path: a mixture of two.
            if not self._in_wal_mode and self._exchanged():
                raise _Exchanged()
            return result

        return self._retrying(read)

    def all(self, sql: str, params: Optional[Params] = None) -> List[Dict[str, SqlOutput]]:
        """All rows, by their columns' names. Columns of the same name fall together."""
        columns, rows = self.rows(sql, params)
        return [dict(zip(columns, row)) for row in rows]

    def get(self, sql: str, params: Optional[Params] = None) -> Optional[Dict[str, SqlOutput]]:
        """The first row, or None."""
        rows = self.all(sql, params)
        return rows[0] if rows else None

    def close(self) -> None:
        """Closes the file. Idempotent."""
        with self._lock:
            self._closed = True
            self._release()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _current(self) -> sqlite3.Connection:
        """The connection to the file that is at the path now."""
        if self._closed:
            raise invalid_request("This reader is closed.")
        file = self._look()
        if self._db is not None and file == self._file:
            return self._db
        self._release()
        held = self._release_others(file)
        uri = f"file:{quote(os.path.abspath(self._path))}?mode=ro"
        db = sqlite3.connect(
            uri, uri=True, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA query_only = ON")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            # Opens the WAL, by its name: it need not be that of the file which was looked at.
            db.execute("PRAGMA schema_version").fetchall()
            in_wal_mode = db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            db.set_authorizer(self._authorize)
            # The -shm too: one that was removed in between would never tell of the writer's commits.
            if self._look() != file:
                raise _Exchanged()
        except sqlite3.Error as error:
            db.close()
            if _file_at(self._path) != file[0]:
                raise _Exchanged() from error
            raise
        except BaseException:
            db.close()
            raise
        # While another's statement keeps the -shm of before, this one shares it: it is tried again.
        self._db, self._file = db, (file[0], "of before") if held else file
        self._in_wal_mode = in_wal_mode
        _open_readers.add(self)
        return db

    def _release_others(self, file: Tuple[str, str]) -> bool:
        """All connections of a process to one file share one ``-shm``, until the last of them is closed (``unixShmNode`` in
        SQLite's os_unix.c). So others that still have the one of before let go of it.

        :returns: whether one could not, since another thread is at work with it
        """
        held = False
        for other in list(_open_readers):
            if other is self or other._file[0] != file[0] or other._file[1] == file[1]:
                continue
            if other._lock.acquire(blocking=False):
                other._release()
                other._lock.release()
            else:
                held = True
        return held

    def _look(self) -> Tuple[str, str]:
        return _file_at(self._path), _identity(f"{self._path}-shm")

    def _exchanged(self) -> bool:
        """Whether the path shows another file than the one that is open."""
        return self._db is not None and _file_at(self._path) != self._file[0]

    def _authorize(self, action: int, first: Any, second: Any, _database: Any, _trigger: Any) -> int:
        """https://sqlite.org/c3ref/set_authorizer.html: asked while a statement is prepared."""
        if action in _WRITING:
            self._writes = True
        elif action in _LASTING or (action == _FUNCTION and str(second).lower() == "load_extension"):
            self._refused = True
        elif action == _PRAGMA:
            name = str(first).lower()
            self._refused = name not in _READING_PRAGMAS and not (second is None and name in _PLAIN_PRAGMAS)
        return sqlite3.SQLITE_DENY if self._refused else sqlite3.SQLITE_OK

    def _retrying(self, work: Callable[[], T]) -> T:
        with self._lock:
            # SQLite has waited once by itself: it is not asked to wait so long again.
            until = time.monotonic() + self._busy_timeout
            tries = 0
            while True:
                tries += 1
                try:
                    return work()
                except (sqlite3.Error, sqlite3.Warning) as error:
                    if self._refused or (not isinstance(error, _Exchanged) and self._writes and "readonly database" in str(error)):
                        raise SkylineError(
                            "STATEMENT_NOT_ALLOWED",
                            "A reader only reads: send what does more through the daemon (exec, run, batch).",
                        ) from error
                    if self._reads_bad_text(error):
                        continue
                    # A mixture of two files can look like anything.
                    exchanged = isinstance(error, _Exchanged) or self._exchanged()
                    passing = _PASSING.search(str(error)) is not None and time.monotonic() < until
                    if tries >= _MAX_TRIES or not (exchanged or passing):
                        raise _failure(self._path, error) from error
                    if exchanged and tries <= _QUICK_TRIES:
                        continue
                except UnicodeEncodeError as error:
                    raise invalid_request("The SQL has a lone surrogate, which UTF-8 cannot hold.") from error
                time.sleep(_PAUSE)

    def _reads_bad_text(self, error: Exception) -> bool:
        """TEXT that is not UTF-8, by another program, is read as the daemon does: with U+FFFD for its bad bytes."""
        if self._db is None or self._db.text_factory is not str or "decode to UTF-8" not in str(error):
            return False
        self._db.text_factory = lambda data: data.decode("utf-8", "replace")
        return True

    def _release(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None
        _open_readers.discard(self)


class _Exchanged(sqlite3.OperationalError):
    """Another file, or ``-shm``, has come to the path in the middle of the work: it is done once more, on that one."""

    def __init__(self) -> None:
        super().__init__("its files were exchanged again and again while they were read")


def _bindings(params: Optional[Params]) -> Any:
    if params is None:
        return ()
    if by_name(params):
        assert isinstance(params, Mapping)
        return {str(name).lstrip(":@$?"): check_value(value) for name, value in params.items()}
    return [check_value(value) for value in params]


def _file_at(path: str) -> str:
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise SkylineError(
            "DATABASE_NOT_FOUND", f"There is no database at {path}. The first write makes it."
        ) from None
    except OSError as error:
        raise SkylineError("IO_ERROR", f"{path}: {error.strerror}.") from error
    if not stat.S_ISREG(info.st_mode):
        raise SkylineError("DATABASE_NOT_ALLOWED", f"{path} is no regular file, so no database.")
    return f"{info.st_dev}:{info.st_ino}"


def _identity(path: str) -> str:
    """Another one than before: the file was exchanged, and this connection would not hear of commits any more."""
    try:
        info = os.stat(path)
    except OSError:
        return ""
    return f"{info.st_dev}:{info.st_ino}"


def _failure(path: str, error: Exception) -> SkylineError:
    text = str(error)
    if "not a database" in text:
        return SkylineError("NOT_A_DATABASE", f"{path}: {text}.")
    if "malformed" in text and "disk image" in text:
        return SkylineError("DATABASE_CORRUPT", f"{path}: {text}.")
    if isinstance(error, _Exchanged):
        return SkylineError("BUSY", f"{path}: {text}.")
    if "readonly database" in text and os.path.exists(f"{path}-journal"):
        return SkylineError(
            "BUSY",
            f"{path}: whoever wrote it last was cut off in the middle. The next write through the daemon repairs it; try again.",
        )
    if "is locked" in text or "locking protocol" in text:
        return SkylineError("BUSY", f"{path}: {text}. Another process holds it; try again.")
    if "unable to open" in text or "readonly database" in text:
        return SkylineError(
            "IO_ERROR",
            f"{path}: {text}. A database in WAL mode can only be read by whoever may write its -shm, and make one in its folder.",
        )
    name = getattr(error, "sqlite_errorname", None)
    return SkylineError("SQL_ERROR", f"SQLite: {text}", details={} if name is None else {"sqlite_code": name})
