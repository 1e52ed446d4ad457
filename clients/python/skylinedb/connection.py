"""One connection to the daemon, with one request at a time. It has one end, and never connects again."""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Protocol

from .endpoint import PIPE
from .errors import connection_lost, from_reply, no_answer, not_sent
from .frames import FrameDecoder, encode_frame

#: What a backup or a replacement reports while it copies: ``pages_done``, ``pages_total``.
OnProgress = Callable[[Mapping[str, Any]], None]

_CONNECT_SECONDS = 5.0
_READ_BYTES = 256 * 1024


@dataclass(frozen=True)
class Deadline:
    """Until when somebody waits."""

    seconds: Optional[float] = None
    #: On time.monotonic()'s clock.
    at: float = float("inf")

    @classmethod
    def after(cls, seconds: Optional[float]) -> Deadline:
        return cls() if seconds is None else cls(seconds, time.monotonic() + seconds)

    def left(self) -> Optional[float]:
        """Seconds for a socket's timeout; None for no limit."""
        return None if self.seconds is None else max(0.001, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.at


class Stream(Protocol):
    """What a connection needs of a socket or a pipe."""

    def send(self, data: memoryview) -> int: ...

    def recv(self, size: int) -> bytes: ...

    def settimeout(self, seconds: Optional[float]) -> None: ...

    def close(self) -> None: ...


class _Pipe:
    """A Windows named pipe. It knows no timeouts: the daemon's own end of a batch's time still holds."""

    def __init__(self, name: str) -> None:
        self._file = open(name, "r+b", buffering=0)

    def send(self, data: memoryview) -> int:
        return self._file.write(data) or 0

    def recv(self, size: int) -> bytes:
        return self._file.read(size) or b""

    def settimeout(self, seconds: Optional[float]) -> None:
        del seconds

    def close(self) -> None:
        self._file.close()


def open_stream(endpoint: str) -> Stream:
    """Connects to whoever listens.

    :raises OSError: the system's: FileNotFoundError and ConnectionRefusedError mean that nobody does
    """
    if endpoint.startswith(PIPE):
        return _Pipe(endpoint)
    if sys.platform == "win32":
        raise OSError("a daemon on Windows listens at a pipe")
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.settimeout(_CONNECT_SECONDS)
        channel.connect(endpoint)
    except BaseException:
        channel.close()
        raise
    return channel


class Connection:
    """Sends a request, waits for its answer. Not for two threads at once, except :meth:`interrupt`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._decoder = FrameDecoder()
        self._id = 0
        self.closed = False
        #: The daemon's bound of a frame, from its Hello; until then no request is large.
        self.max_frame = 16 * 1024 * 1024

    def request(
        self, message: Mapping[str, Any], deadline: Deadline, on_progress: Optional[OnProgress] = None
    ) -> Dict[str, Any]:
        """The answer to a request.

        :raises SkylineError: the daemon's; ``CONNECTION_LOST`` or ``TIMEOUT``, whose outcome is ``unknown`` once the
            whole request was sent. After these the connection is closed: the next one would wait behind it.
        """
        self._id += 1
        frame = encode_frame({**message, "id": self._id}, self.max_frame)
        reply = None
        try:
            self._send(frame, deadline)
            reply = self._receive(deadline, on_progress)
        finally:
            # Also for KeyboardInterrupt, and what on_progress raises.
            if reply is None:
                self.close()
        if reply.get("status") != "ok":
            raise from_reply(reply)
        return reply

    def is_alive(self) -> bool:
        """Whether the other side has not ended it while nobody looked. Waits for nothing."""
        if self.closed or not isinstance(self._stream, socket.socket):
            return not self.closed
        try:
            self._stream.setblocking(False)
            self._stream.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        # Its end, or a frame that nobody has asked for, which is the daemon's word before the end.
        self.close()
        return False

    def interrupt(self) -> None:
        """Ends it from another thread: whoever waits for an answer gets CONNECTION_LOST."""
        if isinstance(self._stream, socket.socket):
            try:
                self._stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It has ended already.

    def close(self) -> None:
        """Idempotent."""
        self.closed = True
        self._stream.close()

    def _send(self, frame: bytes, deadline: Deadline) -> None:
        # A frame that has not left whole is never carried out: whatever fails here, nothing was applied.
        rest = memoryview(frame)
        try:
            while rest:
                self._stream.settimeout(deadline.left())
                rest = rest[self._stream.send(rest) :]
        except socket.timeout:
            raise no_answer(deadline.seconds or 0, "not_applied") from None
        except OSError as error:
            raise not_sent(f"the daemon has ended the connection ({error.strerror or error})") from error

    def _receive(self, deadline: Deadline, on_progress: Optional[OnProgress]) -> Dict[str, Any]:
        while True:
            message = self._next()
            if message is None:
                self._read(deadline)
            elif "event" in message:
                if on_progress is not None and message.get("id") == self._id:
                    on_progress(message)
            elif message.get("id") == self._id:
                return message
            elif message.get("status") == "error" and "id" not in message:
                # It is about the stream itself: the daemon ends the connection after it.
                raise from_reply(message)

    def _next(self) -> Optional[Dict[str, Any]]:
        try:
            return self._decoder.next()
        except ValueError as error:
            raise connection_lost(f"the daemon sent something else than protocol 1: {error}") from error

    def _read(self, deadline: Deadline) -> None:
        try:
            self._stream.settimeout(deadline.left())
            chunk = self._stream.recv(_READ_BYTES)
        except socket.timeout:
            raise no_answer(deadline.seconds or 0, "unknown") from None
        except OSError as error:
            raise connection_lost(f"the daemon ended it, or died ({error.strerror or error})") from error
        if not chunk:
            raise connection_lost("the daemon ended it, or died")
        self._decoder.push(chunk)
