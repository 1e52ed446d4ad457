"""The client against the compiled daemon."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import unittest
from typing import Any, Callable, Dict, List

from skylinedb import SkylineError, Statement, connect

from .ground import DAEMON, GroundTest, until


def refusal(work: Callable[[], Any]) -> SkylineError:
    try:
        work()
    except SkylineError as error:
        return error
    raise AssertionError("it was not refused")


class Starting(GroundTest):
    def test_the_first_call_starts_a_daemon_that_stands_by_itself(self) -> None:
        sky = self.connect()
        (pid,) = self.daemons()
        self.assertEqual(sky.daemon["pid"], pid)
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        self.assertEqual(os.getsid(pid), pid)
        self.assertEqual(sky.status()["data_dir"], self.file("data"))
        # Neither the lock of the start nor a descriptor of this process is left.
        self.assertEqual(sorted(os.listdir(self.file("s"))), ["v1.sock", "v1.sock.lock"])
        sky.shutdown()
        until("the daemon has left, and no zombie of it", lambda: not os.path.exists(f"/proc/{pid}"))

    def test_after_kill_9_the_next_call_succeeds(self) -> None:
        sky = self.connect()
        before = sky.ping()["pid"]
        self.kill(self.processes())
        until("it is dead", lambda: before not in self.daemons())
        self.assertNotEqual(sky.ping()["pid"], before)

    def test_many_that_start_at_once_get_one_daemon(self) -> None:
        pids: List[int] = []

        def start() -> None:
            pids.append(self.connect().ping()["pid"])

        threads = [threading.Thread(target=start) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(pids), 12)
        self.assertEqual(set(pids), set(self.daemons()))

    def test_processes_that_start_at_once_get_one_daemon(self) -> None:
        children = []
        for _ in range(8):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    with connect(daemon=DAEMON) as sky:
                        sky.database(self.file("x.db")).exec("CREATE TABLE IF NOT EXISTS t (a)")
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        self.assertEqual([os.waitpid(child, 0)[1] for child in children], [0] * 8)
        self.assertEqual(len(self.daemons()), 1)

    def test_a_starter_that_was_killed_keeps_nobody_waiting(self) -> None:
        os.mkdir(self.file("s/v1.starting"))
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with open(self.file("s/v1.starting.pid"), "w", encoding="ascii") as file:
            file.write(str(child))
        began = time.monotonic()
        self.connect()
        self.assertLess(time.monotonic() - began, 5)

    def test_a_daemon_that_cannot_start_says_why(self) -> None:
        error = refusal(lambda: self.connect(daemon_args=["--durability", "sometimes"]))
        self.assertEqual((error.code, error.retryable), ("NO_DAEMON", False))
        self.assertIn("--durability", error.message)
        error = refusal(lambda: self.connect(daemon=["/no/such/program"]))
        self.assertIn("/no/such/program", error.message)
        error = refusal(lambda: self.connect(daemon=["echo", "hello"]))
        self.assertEqual(error.code, "NO_DAEMON")
        self.assertEqual(os.listdir(self.file("s")), [])

    def test_without_a_program_it_says_how_to_get_one(self) -> None:
        path = os.environ["PATH"]
        try:
            os.environ["PATH"] = self.dir
            self.assertIn("npm install", refusal(lambda: self.connect(daemon=[])).message)
        finally:
            os.environ["PATH"] = path

    def test_nothing_is_started_where_that_is_not_wanted(self) -> None:
        self.assertEqual(refusal(lambda: self.connect(auto_start=False)).code, "NO_DAEMON")
        self.assertEqual(self.processes(), [])

    def test_a_folder_open_to_others_is_refused(self) -> None:
        os.chmod(self.file("s"), 0o755)
        error = refusal(self.connect)
        self.assertEqual((error.code, error.retryable), ("NO_DAEMON", False))
        self.assertIn("chmod 700", error.message)


class Writing(GroundTest):
    def setUp(self) -> None:
        super().setUp()
        self.sky = self.connect()
        self.db = self.sky.database(self.file("x.db"))

    def test_values_are_stored_as_what_they_are(self) -> None:
        self.db.exec("CREATE TABLE t (a)")
        values = [None, True, -(2**63), 2**63 - 1, 2.0, 0.1, float("-inf"), "ü\0x", b"\x00\xff", ""]
        self.db.run_many("INSERT INTO t VALUES (?)", [[value] for value in values])
        back = [row[0] for row in self.db.exec("SELECT a FROM t ORDER BY rowid").rows]
        self.assertEqual(list(map(repr, back)), list(map(repr, [None, 1, *values[2:]])))
        kinds = "null integer integer integer real real real text blob text".split()
        self.assertEqual([row[0] for row in self.sqlite("x.db", "SELECT typeof(a) FROM t ORDER BY rowid")], kinds)

    def test_a_batch_is_all_or_nothing(self) -> None:
        self.db.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE)")
        done = self.db.batch(
            [
                "INSERT INTO t (a) VALUES (1)",
                ("INSERT INTO t (a) VALUES (:a)", {"a": "x"}),
                Statement("INSERT INTO t (a) VALUES (?)", param_sets=[[2], [3]]),
                Statement("UPDATE t SET a = ? WHERE a = 3", [4], expect_rows_affected=1),
            ]
        )
        self.assertEqual((done.rev, done.epoch, done.rows_affected), (2, 1, 5))
        self.assertEqual([result.last_insert_rowid for result in done.results], [1, 2, 4, None])
        error = refusal(lambda: self.db.batch(["INSERT INTO t (a) VALUES (9)", "INSERT INTO t (a) VALUES (1)"]))
        self.assertEqual((error.code, error.outcome, error.retryable), ("SQL_ERROR", "not_applied", False))
        self.assertEqual(error.details["sqlite_code"], "SQLITE_CONSTRAINT_UNIQUE")
        self.assertEqual(error.details["statement_index"], 1)
        error = refusal(lambda: self.db.batch([Statement("DELETE FROM t WHERE a = 77", expect_rows_affected=1)]))
        self.assertEqual((error.code, error.details["actual"]), ("EXPECTATION_FAILED", 0))
        self.assertEqual(self.sqlite("x.db", "SELECT count(*) FROM t"), [(4,)])

    def test_each_statement_on_its_own_tells_how_far_it_came(self) -> None:
        self.db.exec("CREATE TABLE t (a)")
        error = refusal(lambda: self.db.batch(["INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)"], tx="none"))
        self.assertEqual((error.code, error.outcome, error.retryable), ("SQL_ERROR", "partial", False))
        self.assertEqual(error.details["applied"], 1)
        self.db.batch(["VACUUM"], tx="none")

    def test_compare_and_set(self) -> None:
        rev = self.db.exec("CREATE TABLE t (a)").rev
        self.db.exec("INSERT INTO t VALUES (1)", expect_rev=rev, expect_epoch=1, durable=True)
        error = refusal(lambda: self.db.exec("INSERT INTO t VALUES (1)", expect_rev=rev))
        self.assertEqual(error.code, "EXPECTATION_FAILED")

    def test_rows_come_by_position_and_by_name(self) -> None:
        result = self.db.exec("SELECT 1 AS a, 2 AS b, 3 AS a")
        self.assertEqual((result.columns, result.rows), (("a", "b", "a"), ((1, 2, 3),)))
        self.assertEqual(self.db.all("SELECT ? AS n", [5]), [{"n": 5}])
        self.assertFalse(os.path.exists(self.db.path))

    def test_what_cannot_be_sent_is_refused_by_name(self) -> None:
        bad: Any
        for bad, says in (
            ([("SELECT ?", [float("nan")])], "Statement 0"),
            (["SELECT 1", 5], "Statement 1"),
            ("SELECT 1", "list of statements"),
            ([("SELECT ?", "text")], "sequence"),
            ([], "stmts"),
        ):
            with self.subTest(says):
                error = refusal(lambda: self.db.batch(bad))
                self.assertEqual((error.code, error.outcome), ("INVALID_REQUEST", "not_applied"))
                self.assertIn(says, error.message)
        self.assertEqual(refusal(lambda: self.db.exec("SELECT ?", ["x" * 17_000_000])).code, "FRAME_TOO_LARGE")
        self.assertEqual(refusal(lambda: self.sky.database("")).code, "INVALID_REQUEST")
        self.assertEqual(refusal(lambda: self.sky.database(":memory:").exec("SELECT 1")).code, "DATABASE_NOT_ALLOWED")
        # The connection has survived all of it.
        self.assertEqual(self.db.all("SELECT 1 AS n"), [{"n": 1}])

    def test_a_relative_name_belongs_to_this_process(self) -> None:
        before = os.getcwd()
        try:
            os.chdir(self.dir)
            self.sky.database("rel.db").exec("CREATE TABLE t (a)")
        finally:
            os.chdir(before)
        self.assertTrue(os.path.exists(self.file("rel.db")))

    def test_a_statement_that_never_ends_is_given_up(self) -> None:
        self.db.exec("CREATE TABLE t (a)")
        endless = (
            "INSERT INTO t WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT n FROM c WHERE n < 0"
        )
        error = refusal(lambda: self.db.exec(endless, timeout=0.3))
        self.assertEqual((error.code, error.outcome), ("TIMEOUT", "not_applied"))
        self.assertEqual(self.db.run("INSERT INTO t VALUES (1)").rows_affected, 1)

    def test_threads_share_a_client(self) -> None:
        self.db.exec("CREATE TABLE t (thread, n)")

        def write(thread: int) -> None:
            for n in range(50):
                self.db.run("INSERT INTO t VALUES (?, ?)", [thread, n])

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        self.assertEqual(self.sqlite("x.db", "SELECT count(*), count(DISTINCT thread || '.' || n) FROM t"), [(400, 400)])
        self.assertEqual(
            self.sqlite("x.db", "SELECT count(*) FROM t a JOIN t b ON a.thread = b.thread AND a.rowid < b.rowid AND a.n > b.n"),
            [(0,)],
        )

    def test_a_forked_child_makes_connections_of_its_own(self) -> None:
        self.db.exec("CREATE TABLE t (a)")
        children = []
        for n in range(4):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    for _ in range(20):
                        self.db.run("INSERT INTO t VALUES (?)", [n])
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        for _ in range(20):
            self.db.run("INSERT INTO t VALUES ('parent')")
        self.assertEqual([os.waitpid(child, 0)[1] for child in children], [0] * 4)
        self.assertEqual(self.sqlite("x.db", "SELECT count(*) FROM t"), [(100,)])

    def test_an_interrupted_call_leaves_the_client_usable(self) -> None:
        self.db.exec("CREATE TABLE t (a)")
        slow = "WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 3000000) SELECT max(n) AS n FROM c"
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with self.assertRaises(KeyboardInterrupt):
                self.db.all(slow)
        finally:
            signal.signal(signal.SIGALRM, before)
        # Not the answer of the one before.
        self.assertEqual(self.db.all("SELECT 'mine' AS n"), [{"n": "mine"}])

    def test_closing_ends_what_waits(self) -> None:
        self.db.exec("CREATE TABLE t (a)")
        errors: List[SkylineError] = []
        endless = "WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT n FROM c WHERE n < 0"
        waiting = threading.Thread(target=lambda: errors.append(refusal(lambda: self.db.all(endless))))
        waiting.start()
        until("it runs", lambda: self._queue_depth() == 1)
        self.sky.close()
        self.sky.close()
        waiting.join(10)
        self.assertEqual([(error.code, error.outcome) for error in errors], [("CONNECTION_LOST", "unknown")])
        self.assertEqual(refusal(self.sky.ping).code, "ABORTED")

    def _queue_depth(self) -> int:
        depth: int = self.connect().status(self.db.path)["databases"][0]["queue_depth"]
        return depth


class Named(GroundTest):
    def test_databases_have_names(self) -> None:
        sky = self.connect()
        self.assertTrue(sky.create_database("stars", settings={"durability": "full"})["created"])
        self.assertFalse(sky.create_database("Stars", if_not_exists=True)["created"])
        self.assertEqual(refusal(lambda: sky.create_database("stars")).code, "DATABASE_EXISTS")
        self.assertEqual(refusal(lambda: sky.database("moon").exec("SELECT 1")).code, "DATABASE_NOT_FOUND")
        db = sky.database("stars")
        db.batch(["CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"])
        with db.reader() as reader:
            self.assertEqual(reader.all("SELECT a FROM t"), [{"a": 1}])
        with db.maintenance() as path:
            self.assertTrue(os.path.exists(path))
        self.assertEqual(sky.status("stars")["databases"][0]["name"], "stars")
        sky.rename_database("stars", "suns")
        self.assertEqual([each["name"] for each in sky.databases()["databases"]], ["suns"])
        self.assertTrue(sky.drop_database("suns")["dropped"])
        self.assertFalse(sky.drop_database("suns", if_exists=True)["dropped"])
        sky.restore_database("suns")
        self.assertEqual(sky.database("suns").all("SELECT a FROM t"), [{"a": 1}])


class Maintaining(GroundTest):
    def setUp(self) -> None:
        super().setUp()
        self.sky = self.connect()
        self.db = self.sky.database(self.file("x.db"))
        self.db.batch(["CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"])

    def test_closed_is_closed_for_everybody_until_it_is_reopened(self) -> None:
        with self.db.maintenance() as path:
            self.assertEqual(refusal(lambda: self.db.run("INSERT INTO t VALUES (2)")).code, "DATABASE_CLOSED")
            self.assertEqual(self.db.ping()["state"], "closed")
            shutil.copyfile(path, self.file("copy.db"))
        self.assertEqual(self.sqlite("copy.db", "SELECT a FROM t"), [(1,)])
        with self.assertRaises(ZeroDivisionError), self.db.maintenance():
            print(1 / 0)
        self.assertEqual(self.db.ping()["state"], "open")

    def test_prepare_and_reopen(self) -> None:
        self.db.prepare(timeout=2)
        self.assertEqual(self.db.ping()["state"], "preparing")
        self.assertTrue(self.db.reopen()["reopened"])
        self.assertFalse(self.db.reopen()["reopened"])

    def test_backup_replace_and_checkpoint(self) -> None:
        progress: List[Dict[str, Any]] = []
        done = self.db.backup(self.file("copy.db"), on_progress=lambda event: progress.append(dict(event)))
        self.assertEqual(done["bytes"], os.path.getsize(self.file("copy.db")))
        self.assertEqual(progress[-1]["pages_done"], done["pages"])
        self.assertEqual(refusal(lambda: self.db.backup(self.file("copy.db"))).code, "INVALID_REQUEST")
        self.db.backup(self.file("copy.db"), overwrite=True)
        with self.db.reader() as reader:
            self.db.run("INSERT INTO t VALUES (2)")
            self.assertEqual(reader.get("SELECT count(*) AS n FROM t"), {"n": 2})
            self.assertEqual(self.db.replace(self.file("copy.db"))["epoch"], 2)
            self.assertEqual(reader.get("SELECT count(*) AS n FROM t"), {"n": 1})
        self.db.run("INSERT INTO t VALUES (3)")
        self.assertEqual(self.db.checkpoint("truncate"), {"log": 0, "checkpointed": 0, "busy": False})

    def test_a_reader_that_stays_is_named(self) -> None:
        import sqlite3

        other = sqlite3.connect(self.db.path, isolation_level=None)
        try:
            other.execute("BEGIN")
            other.execute("SELECT * FROM t").fetchall()
            self.db.run("INSERT INTO t VALUES (2)")
            error = refusal(lambda: self.db.close(timeout=0.3))
        finally:
            other.close()
        self.assertEqual((error.code, error.retryable), ("CHECKPOINT_BUSY", True))
        self.assertEqual(error.details["holders"][0]["pid"], os.getpid())

    def test_what_progress_raises_reaches_the_caller_and_harms_nothing(self) -> None:
        def angry(_: Any) -> None:
            raise LookupError("no")

        with self.assertRaises(LookupError):
            self.db.backup(self.file("copy.db"), on_progress=angry)
        self.assertEqual(self.db.run("INSERT INTO t VALUES (2)").rows_affected, 1)


if __name__ == "__main__":
    unittest.main()
