"""Reading the file directly."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import unittest.mock
from typing import Any, Callable, List

from skylinedb import Reader, SkylineError

from .ground import GroundTest


def refusal(work: Callable[[], Any]) -> SkylineError:
    try:
        work()
    except SkylineError as error:
        return error
    raise AssertionError("it was not refused")


class Reading(GroundTest):
    def setUp(self) -> None:
        super().setUp()
        self.db = self.connect(daemon_args=["--worker-idle-timeout", "150ms"]).database(self.file("x.db"))
        self.db.batch(["CREATE TABLE t (a, b)", "INSERT INTO t VALUES (1, 'x')"])
        self.reader = self.db.reader()
        self.addCleanup(self.reader.close)

    def test_reads_by_position_and_by_name(self) -> None:
        self.assertEqual(self.reader.all("SELECT * FROM t WHERE a = ?", [1]), [{"a": 1, "b": "x"}])
        self.assertEqual(self.reader.get("SELECT b FROM t WHERE a = :a AND b = $b", {":a": 1, "b": "x"}), {"b": "x"})
        self.assertIsNone(self.reader.get("SELECT b FROM t WHERE a = 99"))
        self.assertEqual(self.reader.rows("SELECT a, b, a FROM t"), (["a", "b", "a"], [(1, "x", 1)]))
        self.assertEqual(self.reader.rows("SELECT ?2, ?1", [1, 2])[1], [(2, 1)])

    def test_sees_every_write_that_was_answered(self) -> None:
        for n in range(50):
            self.db.run("UPDATE t SET a = ?", [n])
            self.assertEqual(self.reader.get("SELECT a FROM t"), {"a": n})

    def test_cannot_write_or_set_anything(self) -> None:
        for sql in (
            "INSERT INTO t VALUES (2, 2)",
            "UPDATE t SET a = 5 RETURNING a",
            "WITH x AS (SELECT 1) DELETE FROM t",
            "CREATE TABLE u (a)",
            "CREATE TEMP TABLE u (a)",
            "CREATE TEMP VIEW u AS SELECT 1",
            "DROP TABLE t",
            "ALTER TABLE t ADD COLUMN c",
            "VACUUM",
            "ANALYZE",
            "REINDEX",
            "PRAGMA query_only = OFF",
            "PRAGMA user_version = 7",
            "PRAGMA journal_mode = DELETE",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "PRAGMA locking_mode = EXCLUSIVE",
            "BEGIN",
            "BEGIN IMMEDIATE",
            "SAVEPOINT a",
            f"ATTACH '{self.file('other.db')}' AS other",
        ):
            with self.subTest(sql):
                error = refusal(lambda: self.reader.rows(sql))
                self.assertEqual((error.code, error.outcome), ("STATEMENT_NOT_ALLOWED", "not_applied"))
        self.assertEqual(self.sqlite("x.db", "SELECT * FROM t"), [(1, "x")])
        self.assertFalse(os.path.exists(self.file("other.db")))
        # It stands in nobody's way.
        self.assertEqual(self.db.checkpoint("truncate")["busy"], False)

    def test_reads_what_has_machinery_of_its_own(self) -> None:
        self.db.batch(["CREATE VIRTUAL TABLE ft USING fts5(x)", "INSERT INTO ft VALUES ('hello world')"])
        self.assertEqual(self.reader.all("SELECT x FROM ft WHERE ft MATCH 'hello'"), [{"x": "hello world"}])
        self.assertEqual(len(self.reader.all("SELECT * FROM pragma_table_info('t')")), 2)
        self.assertEqual(self.reader.get("PRAGMA user_version"), {"user_version": 0})
        self.assertEqual(self.reader.get("PRAGMA quick_check"), {"quick_check": "ok"})
        deep = "WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c LIMIT 10) SELECT sum(n) AS n FROM c"
        self.assertEqual(self.reader.get(deep), {"n": 55})

    def test_errors_have_codes(self) -> None:
        self.assertEqual(refusal(lambda: self.reader.all("SELECT * FROM u")).code, "SQL_ERROR")
        self.assertEqual(refusal(lambda: self.reader.all("SELECT 1; SELECT 2")).code, "SQL_ERROR")
        self.assertEqual(refusal(lambda: self.reader.all("SELECT ?", [2**63])).code, "INVALID_REQUEST")
        self.assertEqual(refusal(lambda: self.reader.all("SELECT ?", [])).code, "SQL_ERROR")
        self.assertEqual(refusal(lambda: self.reader.all("SELECT '\ud83d'")).code, "INVALID_REQUEST")
        missing = self.file("missing.db")
        self.assertEqual(refusal(lambda: Reader(missing)).code, "DATABASE_NOT_FOUND")
        self.assertFalse(os.path.exists(missing))
        self.assertEqual(refusal(lambda: Reader(self.dir)).code, "DATABASE_NOT_ALLOWED")
        with open(self.file("text.db"), "w", encoding="ascii") as file:
            file.write("no database " * 1000)
        self.assertEqual(refusal(lambda: Reader(self.file("text.db"))).code, "NOT_A_DATABASE")
        self.reader.close()
        self.reader.close()
        self.assertEqual(refusal(lambda: self.reader.all("SELECT 1")).code, "INVALID_REQUEST")

    def test_text_that_is_not_utf_8_is_read_as_the_daemon_does(self) -> None:
        self.db.run("INSERT INTO t VALUES (2, CAST(x'61ff62' AS TEXT))")
        sql = "SELECT b FROM t WHERE a = 2"
        self.assertEqual(self.reader.all(sql), self.db.all(sql))
        self.assertEqual(self.reader.get("SELECT 'ü' AS b"), {"b": "ü"})

    def test_names_with_signs_that_mean_something_in_a_uri(self) -> None:
        db = self.connect().database(self.file("50% #?&mode=rwc ü.db"))
        db.exec("CREATE TABLE t (a)")
        with db.reader() as reader:
            self.assertEqual(reader.all("SELECT * FROM t"), [])

    def test_follows_a_file_that_was_put_in_its_place(self) -> None:
        other = sqlite3.connect(self.file("new.db"))
        other.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (a, b); INSERT INTO t VALUES ('new', 0);")
        other.close()
        with self.db.maintenance():
            os.replace(self.file("new.db"), self.db.path)
        self.assertEqual(self.reader.get("SELECT a FROM t"), {"a": "new"})
        self.db.run("UPDATE t SET a = 'newer'")
        self.assertEqual(self.reader.get("SELECT a FROM t"), {"a": "newer"})

    def test_waits_while_the_file_is_briefly_locked(self) -> None:
        # No worker, and the last connection but this one holds the file alone.
        plain = self.file("plain.db")
        other = sqlite3.connect(plain, isolation_level=None, check_same_thread=False)
        other.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1);")
        reader = Reader(plain, busy_timeout=5)
        hasty = Reader(plain, busy_timeout=0.05)
        other.execute("BEGIN EXCLUSIVE")
        self.assertEqual(refusal(lambda: hasty.all("SELECT * FROM t")).code, "BUSY")
        timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        began = time.monotonic()
        timer.start()
        self.assertEqual(reader.all("SELECT * FROM t"), [{"a": 1}])
        self.assertGreater(time.monotonic() - began, 0.2)
        timer.join()
        reader.close()
        hasty.close()
        other.close()

    def test_survives_the_worker_that_comes_and_goes(self) -> None:
        for n in range(5):
            self.db.run("UPDATE t SET a = ?", [n])
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                self.assertEqual(self.reader.get("SELECT a FROM t"), {"a": n})

    def test_threads_share_a_reader(self) -> None:
        errors = []

        def read() -> None:
            try:
                for _ in range(200):
                    assert self.reader.get("SELECT b FROM t WHERE a = 1") == {"b": "x"}
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])


class Exchanged(unittest.TestCase):
    """Another file comes to the path in the middle of one call: SQLite opens a WAL by its name when it first reads."""

    def setUp(self) -> None:
        self.dir = tempfile.mkdtemp(prefix="sky-py-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.path = self.file("x.db")

    def file(self, name: str) -> str:
        return os.path.join(self.dir, name)

    def make(self, name: str, journal: str, rows: int) -> None:
        """A database of large rows; one in WAL mode has its last change in the WAL alone."""
        folder = tempfile.mkdtemp(dir=self.dir)
        plain, copy = os.path.join(folder, "x.db"), self.file(name)
        db = sqlite3.connect(plain, isolation_level=None)
        db.execute("CREATE TABLE t (name, filling)")
        db.executemany("INSERT INTO t VALUES (?, randomblob(3000))", [[name]] * rows)
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.execute("UPDATE t SET filling = randomblob(3000) WHERE rowid = 1")
        # Copied while it is open: closing would bring the WAL home.
        shutil.copyfile(plain, copy)
        if journal == "wal":
            shutil.copyfile(f"{plain}-wal", f"{copy}-wal")
        db.close()

    def put(self, name: str) -> None:
        """In the place of whatever is there."""
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(self.path + suffix):
                os.remove(self.path + suffix)
            if os.path.exists(self.file(name + suffix)):
                os.rename(self.file(name + suffix), self.path + suffix)

    def exchange(self) -> None:
        self.put("new")

    def names(self, reader: Reader) -> List[Any]:
        return reader.rows("SELECT DISTINCT name FROM t")[1]

    def test_while_it_is_being_opened(self) -> None:
        for journal in ("wal", "delete"):
            for rows in (60, 5):
                with self.subTest(journal=journal, rows=rows):
                    self.make("new", "wal", 5)
                    self.make("old", journal, rows)
                    self.put("old")
                    real, exchange = sqlite3.connect, [self.exchange]

                    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
                        db = real(*args, **options)
                        if exchange:
                            exchange.pop()()
                        return db

                    with unittest.mock.patch.object(sqlite3, "connect", connect), Reader(self.path) as reader:
                        self.assertEqual(self.names(reader), [("new",)])

    def test_while_it_is_open_and_not_in_wal_mode_yet(self) -> None:
        for rows in (60, 5):
            with self.subTest(rows=rows):
                self.make("new", "wal", 5)
                self.make("old", "delete", rows)
                self.put("old")
                with Reader(self.path) as reader:
                    self.assertEqual(self.names(reader), [("old",)])
                    real, exchange = reader._current, [self.exchange]

                    def current() -> sqlite3.Connection:
                        db = real()
                        if exchange:
                            exchange.pop()()
                        return db

                    with unittest.mock.patch.object(reader, "_current", current):
                        self.assertEqual(self.names(reader), [("new",)])

    def test_the_index_is_made_anew_by_the_writer(self) -> None:
        self.make("old", "wal", 5)
        self.put("old")
        reader = Reader(self.path)
        # For this one it is opened again.
        self.write_anew("first")
        real, looks = Reader._look, [0]

        def look(reader: Reader) -> Any:
            looks[0] += 1
            if looks[0] == 2:
                self.write_anew("second")
            return real(reader)

        with unittest.mock.patch.object(Reader, "_look", look):
            self.assertEqual(self.names(reader), [("old",), ("second",)])
        self.write("third")
        self.assertEqual(self.names(reader), [("old",), ("second",), ("third",)])
        reader.close()

    def test_several_readers_whose_index_is_made_anew(self) -> None:
        self.make("old", "wal", 5)
        self.put("old")
        readers = [Reader(self.path), Reader(self.path)]
        self.write_anew("written")
        for reader in [*readers, Reader(self.path)]:
            self.assertEqual(self.names(reader), [("old",), ("written",)])
        self.write("later")
        for reader in readers:
            self.assertEqual(self.names(reader), [("old",), ("written",), ("later",)])
            reader.close()

    def test_what_was_refused_before_says_nothing_of_the_next(self) -> None:
        self.make("old", "wal", 5)
        self.put("old")
        self.make("new", "wal", 5)
        with Reader(self.path) as reader:
            self.assertEqual(refusal(lambda: reader.rows("ATTACH ':memory:' AS x")).code, "STATEMENT_NOT_ALLOWED")
            self.exchange()
            self.assertEqual(self.names(reader), [("new",)])

    def test_a_writer_that_was_cut_off(self) -> None:
        self.make("old", "delete", 60)
        self.put("old")
        script = f"import os, sqlite3; db = sqlite3.connect({self.path!r}); db.execute('PRAGMA cache_size = 1'); db.execute('UPDATE t SET filling = randomblob(3000)'); os.kill(os.getpid(), 9)"
        subprocess.run([sys.executable, "-c", script], check=False)
        failure = refusal(lambda: Reader(self.path))
        self.assertEqual((failure.code, "cut off" in failure.message), ("BUSY", True))

    def write_anew(self, name: str) -> None:
        for suffix in ("-wal", "-shm"):
            os.remove(self.path + suffix)
        self.write(name)

    def write(self, name: str) -> None:
        """By another process: closing a file would drop this one's locks on it."""
        script = f"import sqlite3; db = sqlite3.connect({self.path!r}); db.execute('INSERT INTO t VALUES (?, 0)', [{name!r}]); db.commit()"
        subprocess.run([sys.executable, "-c", script], check=True)


if __name__ == "__main__":
    unittest.main()
