"""Batches that lose their answer: with real kills, and with a daemon that follows a script."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import unittest
from typing import Any, Callable, Dict, List, Optional

from skylinedb import Client, SkylineError
from skylinedb.lane import Seen

from .ground import GroundTest, until

Message = Dict[str, Any]


class UnderFire(GroundTest):
    """Threads write while processes are killed: each batch is applied once, and answered as applied."""

    THREADS = 4
    EACH = 150

    def fire(self, rounds: int, kill: Callable[[], None]) -> None:
        sky = self.connect(daemon_args=["--worker-idle-timeout", "0"])
        db = sky.database(self.file("x.db"))
        db.exec("CREATE TABLE t (thread, n)")
        answers: List[Any] = []
        errors: List[BaseException] = []

        def write(thread: int) -> None:
            try:
                for n in range(self.EACH):
                    answers.append(db.exec("INSERT INTO t VALUES (?, ?) RETURNING thread, n", [thread, n]).rows[0])
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(self.THREADS)]
        for each in threads:
            each.start()
        total = self.THREADS * self.EACH
        for at in range(1, rounds + 1):
            until("some more are answered", lambda: errors or len(answers) >= at * total / (rounds + 1), 60)
            kill()
        for each in threads:
            each.join()
        self.assertEqual([str(error) for error in errors], [])
        expected = sorted((thread, n) for thread in range(self.THREADS) for n in range(self.EACH))
        self.assertEqual(sorted(answers), expected)
        self.assertEqual(sorted(self.sqlite("x.db", "SELECT thread, n FROM t")), expected)
        self.assertEqual(db.ping()["rev"], total + 1)

    def test_workers_that_are_killed(self) -> None:
        self.fire(8, lambda: self.kill(self.workers()))

    def test_daemons_that_are_killed(self) -> None:
        self.fire(4, lambda: self.kill(self.daemons()))

    def test_all_that_is_killed_at_once(self) -> None:
        self.fire(4, lambda: self.kill(self.processes()))

    def test_daemons_that_leave(self) -> None:
        other = self.connect()
        self.fire(4, other.shutdown)


class Script(unittest.TestCase):
    """A daemon that follows a script."""

    def setUp(self) -> None:
        ground = GroundTest()
        ground.setUp()
        self.addCleanup(ground.doCleanups)
        self.path = ground.socket
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(5)
        self.addCleanup(self.listener.close)
        #: The batches that arrived.
        self.got: List[Message] = []

    def serve(self, *script: Optional[Message]) -> None:
        """Answers one batch after the other; None ends the connection instead. At the end nobody listens any more."""
        steps = list(script)

        def run() -> None:
            while steps:
                channel, _ = self.listener.accept()
                with channel, channel.makefile("rb") as stream:
                    while steps and self._one(channel, stream, steps):
                        pass
            self.listener.close()
            os.unlink(self.path)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)

    def _one(self, channel: socket.socket, stream: Any, steps: List[Optional[Message]]) -> bool:
        header = stream.read(4)
        if len(header) < 4:
            return False
        message = json.loads(stream.read(struct.unpack("<I", header)[0]))
        if message["type"] == "Hello":
            reply: Optional[Message] = {"status": "ok", "version": "0.1.0", "limits": {"max_frame": 1_000_000}}
        elif message["type"] == "Ping":
            reply = {"status": "ok"}
        else:
            self.got.append(message)
            reply = steps.pop(0)
        if reply is None:
            return False
        payload = json.dumps({**reply, "id": message["id"]}).encode()
        channel.sendall(struct.pack("<I", len(payload)) + payload)
        return True

    def client(self, **options: Any) -> Client:
        from skylinedb import connect

        client = connect(self.path, auto_start=False, **options)
        self.addCleanup(client.close)
        return client

    def run_batch(self, timeout: Optional[float] = None, **options: Any) -> "SkylineError | int":
        try:
            return self.client(**options).database("/x.db").exec("SELECT 1", timeout=timeout).rev
        except SkylineError as error:
            return error

    def refused(self, timeout: Optional[float] = None, **options: Any) -> SkylineError:
        error = self.run_batch(timeout, **options)
        assert isinstance(error, SkylineError), error
        return error


class Scripted(Script):
    """What the client sends again, and what it says of it, line by line."""

    def test_a_lost_batch_is_sent_again_under_its_number(self) -> None:
        self.serve(None, None, OK)
        self.assertEqual(self.run_batch(), 7)
        first, second, third = self.got
        self.assertEqual((first["seq"], first["acked"]), (1, 0))
        for again in (second, third):
            self.assertEqual({**again, "id": 0}, {**first, "id": 0})

    def test_where_the_file_stood_is_said_when_it_is_sent_again(self) -> None:
        self.serve({**OK, "database": "one"}, None, OK)
        db = self.client().database("/x.db")
        db.exec("SELECT 1")
        db.exec("SELECT 2")
        self.assertNotIn("session_epoch", self.got[1])
        self.assertEqual(self.got[0]["session_database"], True)
        self.assertNotIn("session_database", self.got[1])
        self.assertEqual(self.got[2]["session_database"], "one")
        self.assertEqual((self.got[2]["session_epoch"], self.got[2]["session_rev"], self.got[2]["acked"]), (2, 7, 1))

    def test_another_file_that_others_have_seen_meanwhile_is_not_where_it_is_sent(self) -> None:
        self.serve({**OK, "database": "one"}, None, OK)
        client = self.client()
        db = client.database("/x.db")
        db.exec("SELECT 1")
        path, seen = "/x.db", client._seen
        connect = client._connect

        def later(deadline: Any) -> Any:
            # Another thread's answer, between the loss and the next sending.
            seen[path] = Seen(9, 1, "other")
            return connect(deadline)

        client._idle[0]._connect = later
        db.exec("SELECT 2")
        again = self.got[2]
        self.assertEqual(
            (again["session_epoch"], again["session_rev"], again["session_database"]), (2, 7, "one")
        )

    def test_without_numbers_a_lost_batch_is_not_sent_again(self) -> None:
        self.serve(None, OK)
        error = self.refused(exactly_once=False)
        self.assertEqual((error.code, error.outcome, error.retryable), ("CONNECTION_LOST", "unknown", False))
        self.assertNotIn("session", self.got[0])
        self.assertEqual(len(self.got), 1)
        # Lets the script end.
        self.assertEqual(self.run_batch(), 7)

    def test_no_daemon_any_more_means_unknown(self) -> None:
        self.serve(None)
        error = self.refused()
        self.assertEqual((error.code, error.outcome), ("CONNECTION_LOST", "unknown"))

    def test_one_that_never_left_is_not_applied(self) -> None:
        self.serve(OK)
        db = self.client().database("/x.db")
        db.exec("SELECT 1")
        until("nobody listens", lambda: not os.path.exists(self.path))
        with self.assertRaises(SkylineError) as caught:
            db.exec("SELECT 2")
        self.assertEqual((caught.exception.code, caught.exception.outcome), ("NO_DAEMON", "not_applied"))

    def test_what_a_later_refusal_says_holds_for_itself_only(self) -> None:
        self.serve(None, error("DATABASE_CLOSED", retryable=True))
        lost = self.refused()
        self.assertEqual((lost.code, lost.outcome, lost.retryable), ("DATABASE_CLOSED", "unknown", False))
        self.assertIn("unknown", lost.message)

    def test_a_refusal_that_had_looked_is_believed(self) -> None:
        self.serve(None, error("SQL_ERROR"))
        self.assertEqual(self.refused().outcome, "not_applied")

    def test_a_replayed_failure_is_believed(self) -> None:
        self.serve(None, error("BUSY", replayed=True))
        self.assertEqual(self.refused().outcome, "not_applied")

    def test_a_batch_that_kills_workers_is_only_asked_about(self) -> None:
        self.serve(error("WORKER_CRASHED", "unknown"), error("WORKER_CRASHED", "unknown"), OK)
        self.assertEqual(self.run_batch(), 7)
        self.assertEqual([message.get("only_replay") for message in self.got], [None, True, True])

    def test_what_was_given_up_and_is_not_recorded_was_not_applied(self) -> None:
        self.serve(error("WORKER_CRASHED", "unknown"), error("TIMEOUT"))
        crashed = self.refused()
        self.assertEqual((crashed.code, crashed.outcome), ("WORKER_CRASHED", "not_applied"))

    def test_a_worker_that_died_before_it_began_is_told_as_it_is(self) -> None:
        self.serve(error("WORKER_CRASHED", "not_applied", retryable=True))
        crashed = self.refused()
        self.assertEqual((crashed.outcome, crashed.retryable), ("not_applied", True))

    def test_a_leaving_daemon_is_left(self) -> None:
        self.serve(error("SHUTTING_DOWN", retryable=True), OK)
        self.assertEqual(self.run_batch(), 7)
        self.assertEqual(self.got[0]["seq"], self.got[1]["seq"])

    def test_a_conflict_begins_a_new_session(self) -> None:
        self.serve(error("SESSION_CONFLICT"), OK, OK)
        db = self.client().database("/x.db")
        db.exec("SELECT 1")
        db.exec("SELECT 1")
        first, second, third = self.got
        self.assertNotEqual(first["session"], second["session"])
        self.assertEqual((second["session"], second["seq"] + 1), (third["session"], third["seq"]))

    def test_a_conflict_with_another_file_tells_nothing_of_the_one_before(self) -> None:
        self.serve(OK, None, error("SESSION_CONFLICT", expected=2, actual=3))
        db = self.client().database("/x.db")
        db.exec("SELECT 1")
        with self.assertRaises(SkylineError) as caught:
            db.exec("SELECT 2")
        self.assertEqual((caught.exception.code, caught.exception.outcome), ("SESSION_CONFLICT", "unknown"))

    def test_daemons_that_all_die_have_another_problem(self) -> None:
        self.serve(*[None] * 21, OK)
        error = self.refused()
        self.assertEqual((error.code, error.outcome, len(self.got)), ("CONNECTION_LOST", "unknown", 21))
        self.assertEqual(self.run_batch(), 7)

    def test_an_answer_that_is_none_is_an_unknown_outcome(self) -> None:
        self.serve({"status": "ok", "rev": "7", "epoch": 2, "rows_affected": 0})
        error = self.refused()
        self.assertEqual((error.code, error.outcome), ("PROTOCOL_ERROR", "unknown"))

    def test_a_code_of_a_later_version_is_passed_on(self) -> None:
        self.serve({"status": "error", "code": "TOO_SUNNY", "message": "Wait.", "outcome": "perhaps", "retryable": True})
        error = self.refused()
        self.assertEqual((error.code, error.outcome, error.retryable), ("TOO_SUNNY", "unknown", False))


OK: Message = {"status": "ok", "rev": 7, "epoch": 2, "rows_affected": 0, "results": [{"rows_affected": 0}]}


def error(code: str, outcome: str = "not_applied", retryable: bool = False, **details: Any) -> Message:
    return {
        "status": "error",
        "code": code,
        "message": f"It is {code}.",
        "outcome": outcome,
        "retryable": retryable,
        **details,
    }


if __name__ == "__main__":
    unittest.main()
