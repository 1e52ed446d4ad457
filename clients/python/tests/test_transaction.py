"""Transactions that stay open, against the compiled daemon."""

from __future__ import annotations

import threading
import unittest
from typing import Any, List

from skylinedb import SkylineError

from .ground import GroundTest, until
from .test_client import refusal
from .test_exactly_once import OK, Script, error


class Transactions(GroundTest):
    def setUp(self) -> None:
        super().setUp()
        self.sky = self.connect()
        self.db = self.sky.database(self.file("x.db"))
        self.db.batch(["CREATE TABLE t (a UNIQUE)", "INSERT INTO t VALUES (1)"])

    def rows(self) -> List[Any]:
        return [row[0] for row in self.sqlite("x.db", "SELECT a FROM t ORDER BY a")]

    def test_reads_what_it_has_written_and_commits_at_the_end(self) -> None:
        with self.db.transaction() as tx:
            tx.run("INSERT INTO t VALUES (2)")
            self.assertEqual(tx.all("SELECT max(a) AS a FROM t"), [{"a": 2}])
            self.assertEqual(self.rows(), [1])
            tx.batch([("INSERT INTO t VALUES (?)", [3])])
        self.assertEqual(self.rows(), [1, 2, 3])
        self.assertEqual(self.db.ping()["rev"], 2)

    def test_is_rolled_back_when_the_block_raises(self) -> None:
        with self.assertRaises(ZeroDivisionError), self.db.transaction() as tx:
            tx.run("INSERT INTO t VALUES (2)")
            print(1 / 0)
        self.assertEqual(self.rows(), [1])
        self.db.run("INSERT INTO t VALUES (4)")

    def test_it_is_nobodys_after_its_block(self) -> None:
        with self.db.transaction() as tx:
            tx.run("INSERT INTO t VALUES (2)")
        late = refusal(lambda: tx.run("INSERT INTO t VALUES (3)"))
        self.assertEqual((late.code, late.outcome), ("TX_EXPIRED", "not_applied"))
        self.assertIn("block", late.message)
        self.assertEqual(self.rows(), [1, 2])

    def test_a_statement_that_fails_leaves_it_as_it_was(self) -> None:
        with self.db.transaction() as tx:
            tx.run("INSERT INTO t VALUES (2)")
            self.assertEqual(refusal(lambda: tx.run("INSERT INTO t VALUES (1)")).code, "SQL_ERROR")
            tx.run("INSERT INTO t VALUES (3)")
        self.assertEqual(self.rows(), [1, 2, 3])

    def test_others_wait_and_lose_nothing(self) -> None:
        def add(_: int) -> None:
            for _ in range(10):
                with self.db.transaction() as tx:
                    (row,) = tx.all("SELECT max(a) AS a FROM t")
                    assert isinstance(row["a"], int)
                    tx.run("INSERT INTO t VALUES (?)", [row["a"] + 1])

        threads = [threading.Thread(target=add, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.rows(), list(range(1, 42)))

    def test_a_snapshot_sees_the_database_as_it_was(self) -> None:
        with self.db.transaction(read=True) as tx:
            tx.all("SELECT a FROM t")
            self.db.run("INSERT INTO t VALUES (2)")
            self.assertEqual(tx.all("SELECT a FROM t"), [{"a": 1}])
            self.assertEqual(refusal(lambda: tx.run("DELETE FROM t")).code, "STATEMENT_NOT_ALLOWED")

    def test_one_that_is_not_used_is_over_and_nothing_of_it_is_applied(self) -> None:
        def idle() -> None:
            with self.db.transaction(lease=0.1) as tx:
                tx.run("INSERT INTO t VALUES (2)")
                # Waits for the transaction's end.
                self.db.run("INSERT INTO t VALUES (3)")
                tx.run("INSERT INTO t VALUES (4)")

        self.assertEqual(refusal(idle).code, "TX_EXPIRED")
        self.assertEqual(self.rows(), [1, 3])

    def test_a_daemon_that_is_killed_in_the_middle_takes_it_along(self) -> None:
        def cut() -> None:
            with self.db.transaction() as tx:
                tx.run("INSERT INTO t VALUES (2)")
                self.kill(self.processes())
                until("it is dead", lambda: not self.processes())
                tx.run("INSERT INTO t VALUES (3)")

        lost = refusal(cut)
        self.assertEqual((lost.code, lost.outcome), ("TX_EXPIRED", "not_applied"))
        with self.db.transaction() as tx:
            tx.run("INSERT INTO t VALUES (4)")
        self.assertEqual(self.rows(), [1, 4])


class LostCommits(Script):
    BEGUN = {"status": "ok", "tx": "t1", "rev": 7, "epoch": 2, "database": "one", "lease_ms": 1, "max_ms": 1}

    def commit(self, *script: Any) -> "SkylineError | None":
        self.serve(self.BEGUN, OK, *script)
        try:
            with self.client().database("/x.db").transaction() as tx:
                tx.run("SELECT 1")
        except SkylineError as failure:
            return failure
        return None

    def test_what_became_of_a_commit_whose_answer_is_lost_is_asked(self) -> None:
        self.assertIsNone(self.commit(None, OK))
        first, again = self.got[2:]
        self.assertEqual((again["session"], again["seq"], again["tx"]), (first["session"], 1, "t1"))
        self.assertEqual((again["only_replay"], again["session_database"], again["session_epoch"]), (True, "one", 2))

    def test_one_that_is_not_recorded_was_not_applied(self) -> None:
        failure = self.commit(None, error("TX_EXPIRED"))
        assert failure is not None
        self.assertEqual((failure.code, failure.outcome), ("TX_EXPIRED", "not_applied"))

    def test_where_nobody_can_be_asked_it_is_unknown(self) -> None:
        failure = self.commit(None)
        assert failure is not None
        self.assertEqual((failure.code, failure.outcome), ("CONNECTION_LOST", "unknown"))


if __name__ == "__main__":
    unittest.main()
