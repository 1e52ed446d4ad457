"""A temporary folder with a socket, a state folder and a data folder of its own, and the daemons that come from it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest
from typing import Any, Callable, List, Optional

from skylinedb import Client, connect

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
#: The compiled daemon of this checkout.
DAEMON = ["node", os.path.join(ROOT, "dist/bin/daemon.cjs")]


def until(what: str, condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Waits until it is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"still not so after {seconds} s: {what}")
        time.sleep(0.005)


class GroundTest(unittest.TestCase):
    """Each test has its own folder; nothing of it may remain."""

    def setUp(self) -> None:
        self.dir = tempfile.mkdtemp(prefix="sky-py-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        os.mkdir(self.file("s"), 0o700)
        self.socket = self.file("s/v1.sock")
        env = {
            "SKYLINEDB_SOCKET": self.socket,
            "SKYLINEDB_STATE_DIR": self.file("state"),
            "SKYLINEDB_DATA_DIR": self.file("data"),
        }
        for name, value in env.items():
            before = os.environ.get(name)
            os.environ[name] = value
            self.addCleanup(self._restore, name, before)
        self.addCleanup(self._end_processes)

    def file(self, name: str) -> str:
        return os.path.join(self.dir, name)

    def connect(self, **options: Any) -> Client:
        options.setdefault("daemon", DAEMON)
        client = connect(**options)
        self.addCleanup(client.close)
        return client

    def start_daemon(self, *args: str) -> "subprocess.Popen[bytes]":
        """A daemon that no client has started."""
        reading, writing = os.pipe()
        child = subprocess.Popen(
            [*DAEMON, "--ready-fd", str(writing), *args, self.file("data")],
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(child.wait)
        os.close(writing)
        with os.fdopen(reading) as ready:
            self.assertEqual(json.loads(ready.readline())["status"], "ready")
        return child

    def sqlite(self, name: str, sql: str) -> List[Any]:
        """What plain SQLite says about a file."""
        db = sqlite3.connect(self.file(name))
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def processes(self, title: Optional[str] = None) -> List[int]:
        """Living processes that come from this folder. Linux only; zombies do not count."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    ours = f"SKYLINEDB_SOCKET={self.socket}\0".encode() in file.read()
                with open(f"/proc/{name}/status", encoding="latin-1") as file:
                    alive = "State:\tZ" not in file.read()
                with open(f"/proc/{name}/cmdline", encoding="latin-1") as file:
                    called = file.read()
            except OSError:
                continue
            if ours and alive and (title is None or called.startswith(title)):
                found.append(int(name))
        return found

    def daemons(self) -> List[int]:
        return self.processes("skylinedb-daemon")

    def workers(self) -> List[int]:
        return self.processes("skylinedb-worker")

    def kill(self, pids: List[int]) -> None:
        """kill -9."""
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _end_processes(self) -> None:
        def none_left() -> bool:
            left = self.processes()
            self.kill(left)
            return not left

        until("all processes have ended", none_left)

    @staticmethod
    def _restore(name: str, value: Optional[str]) -> None:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
