"""Finding the daemon, and starting one (docs/protocol.md, section 1)."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Iterator, List, Mapping, Optional, Sequence, Tuple

from .connection import Deadline, Stream, open_stream
from .endpoint import PIPE, Surroundings, check_socket_folder, data_folder, make_socket_folder
from .errors import no_daemon

#: Seconds that the start lock may be without a sign of life from its holder.
_STALE_SECONDS = 5.0
#: Seconds that it may be without its holder's pid beside it.
_NO_PID_SECONDS = 0.3
_MAX_LAST_WORDS = 4_000


@dataclass(frozen=True)
class Target:
    """Which daemon is meant, and how it may be started."""

    endpoint: str
    around: Surroundings
    auto_start: bool
    start_timeout: float
    #: The program and its first arguments; empty: ``skylinedb-daemon`` on the PATH.
    daemon: Sequence[str]
    daemon_args: Sequence[str]


def reach_daemon(target: Target) -> Stream:
    """A connection to the daemon, which is started if need be and allowed.

    :raises SkylineError: ``NO_DAEMON`` with the reason, the daemon's own where it gave one
    """
    deadline = Deadline.after(target.start_timeout)
    endpoint = target.endpoint
    reason = f"no daemon listens at {endpoint}"
    while True:
        stream = try_connect(target)
        if stream is not None:
            return stream
        if not target.auto_start:
            raise no_daemon(
                f'No daemon is running at {endpoint}. Start one with "skylinedb-daemon", or let a write start it.'
            )
        if deadline.passed:
            raise no_daemon(f"No daemon could be reached within {target.start_timeout:g} s: {reason}.")
        make_socket_folder(endpoint, target.around.uid)
        with _start_lock(endpoint) as mine:
            if mine:
                stream = try_connect(target)
                if stream is not None:
                    return stream
                failure = _start(target, max(1.0, deadline.left() or 0))
                if failure is None:
                    continue
                reason = failure
            else:
                reason = f"another process is starting one at {endpoint}"
        time.sleep(0.01 + random.random() * 0.04)


def try_connect(target: Target) -> Optional[Stream]:
    """A connection, or None when nobody listens.

    :raises SkylineError: ``NO_DAEMON`` when the folder is not the user's alone, or something else stands in the way
    """
    endpoint = target.endpoint
    if not check_socket_folder(endpoint, target.around.uid):
        return None
    for _ in range(100):
        try:
            return open_stream(endpoint)
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
            return None
        except BlockingIOError:
            # The listener's queue is full: unix(7).
            time.sleep(0.005 + random.random() * 0.01)
        except OSError as error:
            raise no_daemon(f"The daemon at {endpoint} cannot be reached: {error}.") from error
    return None


def _start(target: Target, seconds: float) -> Optional[str]:
    """Starts a daemon and waits until it is ready.

    :returns: None when it is, or why another one is there already
    """
    command = [*_program(target), *_arguments(target)]
    env = {name: value for name, value in target.around.env.items() if name != "NODE_OPTIONS"}
    reading, writing = os.pipe()
    try:
        child = _spawn(command, env, writing)
    except OSError as error:
        os.close(reading)
        raise no_daemon(f"The daemon could not be started: {command[0]}: {error.strerror}.", retryable=False) from error
    finally:
        os.close(writing)
    # Its end is taken note of, whenever that is: no zombie stays.
    threading.Thread(target=child.wait, name="skylinedb-daemon", daemon=True).start()
    assert child.stderr is not None
    with os.fdopen(reading, "rb") as ready, child.stderr:
        line = _first_line(ready.fileno(), seconds)
        answer = _parse(line)
        if answer.get("status") == "ready":
            return None
        if answer.get("code") == "ALREADY_RUNNING":
            return str(answer.get("message", "another daemon is running"))
        words = str(answer.get("message") or _last_words(child.stderr.fileno()))
        if not line and _ended_by_kill(child):
            # Whoever killed it did not mean this client: the next one may live.
            return "a daemon was killed while it started"
    raise no_daemon(f"The daemon could not start: {words or 'it ended without a word'}", retryable=False)


def _program(target: Target) -> List[str]:
    if target.daemon:
        return list(target.daemon)
    found = shutil.which("skylinedb-daemon", path=target.around.env.get("PATH"))
    if found is None:
        raise no_daemon(
            f"No daemon is running at {target.endpoint}, and there is no skylinedb-daemon on the PATH to start one. "
            'Install it with "npm install -g skylinedb", or name it: connect(daemon=["/path/to/skylinedb-daemon"]).',
            retryable=False,
        )
    return [found]


def _arguments(target: Target) -> List[str]:
    return ["--socket", target.endpoint, *target.daemon_args, data_folder(target.around)]


def _spawn(command: List[str], env: Mapping[str, str], writing: int) -> "subprocess.Popen[bytes]":
    if sys.platform == "win32":
        # Only the standard streams can be redirected there.
        return subprocess.Popen(
            [*command, "--ready-fd", "1"],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            creationflags=subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP,
        )
    return subprocess.Popen(
        [*command, "--ready-fd", str(writing)],
        env=dict(env),
        # Not this process's folder: a daemon that outlives it must not keep it busy.
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(writing,),
        start_new_session=True,
    )


def _first_line(descriptor: int, seconds: float) -> bytes:
    deadline = Deadline.after(seconds)
    line = b""
    while b"\n" not in line:
        if not _readable(descriptor, deadline.left() or 0):
            raise no_daemon(f"The daemon could not be started: it was not ready within {seconds:g} s.")
        chunk = os.read(descriptor, 4096)
        if not chunk:
            break
        line += chunk
    return line.split(b"\n")[0]


def _last_words(descriptor: int) -> str:
    """A process that died before it could report has left its reason on stderr."""
    words = b""
    while len(words) < _MAX_LAST_WORDS and _readable(descriptor, 0.5):
        chunk = os.read(descriptor, _MAX_LAST_WORDS)
        if not chunk:
            break
        words += chunk
    return words.decode("utf-8", "replace").strip()


def _readable(descriptor: int, seconds: float) -> bool:
    if sys.platform == "win32":
        return True  # Pipes cannot be waited for there: reading waits until the daemon's word or end.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _ended_by_kill(child: "subprocess.Popen[bytes]") -> bool:
    try:
        return child.wait(0.5) == -getattr(signal, "SIGKILL", 9)
    except subprocess.TimeoutExpired:
        return False


def _parse(line: bytes) -> Mapping[str, Any]:
    if not line:
        return {}
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise no_daemon("The program that was to be the daemon said something else: is it skylinedb-daemon?", False)
    return answer


@contextmanager
def _start_lock(endpoint: str) -> Iterator[bool]:
    """Calms a herd of starters, those of the Node.js library included; what decides that one daemon lives is the daemon's own.

    :returns: whether this process has it
    """
    if endpoint.startswith(PIPE):
        yield True
        return
    path, pid_path = _lock_paths(endpoint)
    try:
        os.mkdir(path, 0o700)
    except (FileExistsError, FileNotFoundError):
        # Not found: somebody removes the folder just now.
        _break_if_dead(path, pid_path)
        yield False
        return
    except OSError as error:
        raise no_daemon(f"The lock {path} cannot be made: {error.strerror}.", retryable=False) from error
    try:
        with open(pid_path, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
        yield True
    finally:
        for remove, name in ((os.unlink, pid_path), (os.rmdir, path)):
            try:
                remove(name)
            except OSError:
                pass  # Somebody took this process for dead.


def _lock_paths(endpoint: str) -> Tuple[str, str]:
    path = f"{os.path.splitext(endpoint)[0]}.starting"
    return path, f"{path}.pid"


def _break_if_dead(path: str, pid_path: str) -> None:
    try:
        age = abs(time.time() - os.stat(path).st_mtime)
        if age > _STALE_SECONDS or _is_dead(pid_path, age):
            os.rmdir(path)
    except OSError:
        pass  # Somebody else was quicker.


def _is_dead(pid_path: str, age: float) -> bool:
    try:
        with open(pid_path, encoding="ascii") as file:
            os.kill(int(file.read(20) or "0"), 0)
        return False
    except FileNotFoundError:
        # Killed between making the lock and writing the pid, a matter of milliseconds.
        return age > _NO_PID_SECONDS
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False


