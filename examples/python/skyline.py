"""A small SkylineDB client: standard library only, Python 3.9 or newer. docs/protocol.md has the protocol.

with Skyline() as sky:
    sky.execute("INSERT INTO stars (name) VALUES (?)", ["Vega"], db="/data/stars.db")
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import math
import os
import re
import socket
import stat
import struct
import sys
from typing import Any, Mapping, Optional, Sequence, Union

MAX_FRAME = 16 * 1024 * 1024
Value = Union[None, bool, int, float, str, bytes]
Params = Union[Sequence[Value], Mapping[str, Value]]


class NoDaemon(Exception):
    """Nobody listens at the endpoint."""


class SkylineError(Exception):
    """The daemon refused a request. Match `code`; `reply` has everything it said."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(f"{reply['code']}: {reply['message']}")
        self.code, self.outcome, self.retryable = reply["code"], reply["outcome"], reply["retryable"]
        self.reply = reply


def endpoint(option: Optional[str] = None) -> str:
    """Where the daemon listens: the option, else SKYLINEDB_SOCKET, else the platform's place."""
    chosen = option or os.environ.get("SKYLINEDB_SOCKET")
    if sys.platform == "win32":
        name = chosen or "SkylineDBd-v1"
        pipe = "\\\\.\\pipe\\"
        return name if name.startswith(pipe) else pipe + re.sub(r"[\\/:]", "-", name.lstrip("\\/"))
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = os.path.join(runtime, "skylinedb") if runtime else f"/tmp/skylinedb-{os.getuid()}"
    return os.path.abspath(chosen) if chosen else os.path.join(folder, "v1.sock")


def connect(path: str, timeout: Optional[float]) -> Any:
    """A buffered binary stream to the daemon. Checks first that nobody else can have put the socket there."""
    try:
        if sys.platform == "win32":
            pipe = open(path, "r+b", buffering=0)
            return io.BufferedRWPair(pipe, pipe)
        folder = os.path.dirname(path)
        info = os.lstat(folder)
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
            raise PermissionError(f"{folder} must be a folder of yours with mode 0700, and no symbolic link")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(timeout)
            channel.connect(path)
            return channel.makefile("rwb")  # keeps the connection open after the end of `with`
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoDaemon(f"No daemon answers at {path}.") from error


def encode(value: Value) -> Any:
    """A Python value as the protocol writes it."""
    if isinstance(value, bytes):
        return {"$blob": base64.b64encode(value).decode("ascii")}
    if isinstance(value, int) and abs(value) >= 2**53:
        return {"$int": str(value)}
    if isinstance(value, float) and (value.is_integer() or math.isinf(value)):
        if value == 0 and math.copysign(1, value) < 0:
            return {"$real": "-0"}
        # 2.0 is the same JSON number as 2: without the tag it would be stored as INTEGER.
        return {"$real": str(value).replace("inf", "Infinity") if math.isinf(value) else value}
    return value


def decode(cell: Any) -> Any:
    """A cell of a row as a Python value. `json` already reads 2 as int and 2.0 as float."""
    if not isinstance(cell, dict):
        return cell
    ((tag, content),) = cell.items()
    if tag == "$int":
        return int(content)
    return float(content) if tag == "$real" else base64.b64decode(content)


def statement(sql: str, params: Params = (), **fields: Any) -> dict[str, Any]:
    """One statement of a batch, with positional or named parameters."""
    if isinstance(params, Mapping):
        return {"sql": sql, "params": {name: encode(value) for name, value in params.items()}, **fields}
    return {"sql": sql, "params": [encode(value) for value in params], **fields}


class Skyline:
    """One connection, for one thread, with one request at a time."""

    def __init__(self, socket_path: Optional[str] = None, timeout: Optional[float] = 60.0) -> None:
        self.endpoint = endpoint(socket_path)
        self._stream = connect(self.endpoint, timeout)
        self._id = 0

    def __enter__(self) -> Skyline:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def call(self, type: str, db: Optional[str] = None, **fields: Any) -> dict[str, Any]:
        """Sends a request, returns its reply. After an OSError (a timeout too) connect anew."""
        self._id += 1
        request = {"type": type, "id": self._id, **fields}
        if db is not None:  # optional fields are left out, never null
            request["db"] = db
        payload = json.dumps(request, ensure_ascii=False, allow_nan=False).encode("utf-8")
        if len(payload) > MAX_FRAME:
            raise ValueError(f"the request has {len(payload)} bytes, a frame at most {MAX_FRAME}")
        self._stream.write(struct.pack("<I", len(payload)) + payload)
        self._stream.flush()
        while True:
            reply: dict[str, Any] = json.loads(self._read_frame())
            # Skips progress events. An error without an id is about the connection itself.
            if "event" not in reply and reply.get("id", self._id) == self._id:
                break
        if reply["status"] == "error":
            raise SkylineError(reply)
        return reply

    def batch(self, stmts: Sequence[dict[str, Any]], db: Optional[str] = None, **fields: Any) -> dict[str, Any]:
        """All statements in one transaction. Without `db`: data.db in the daemon's data directory."""
        reply = self.call("ExecBatch", db, stmts=list(stmts), **fields)
        for result in reply.get("results", ()):
            if "rows" in result:
                result["rows"] = [tuple(map(decode, row)) for row in result["rows"]]
            if "last_insert_rowid" in result:
                result["last_insert_rowid"] = decode(result["last_insert_rowid"])
        return reply

    def execute(self, sql: str, params: Params = (), db: Optional[str] = None) -> dict[str, Any]:
        """One statement: its result, with `columns` and `rows` if it returns any."""
        result: dict[str, Any] = self.batch([statement(sql, params)], db)["results"][0]
        return result

    def _read_frame(self) -> bytes:
        (length,) = struct.unpack("<I", self._read(4))
        if not 0 < length <= MAX_FRAME:
            raise ConnectionError(f"the daemon announced a frame of {length} bytes")
        return self._read(length)

    def _read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        if len(data) < size:
            raise ConnectionError("the connection ended before the reply: the outcome is unknown")
        return data


def tour(sky: Skyline, db: Optional[str]) -> None:
    ping = sky.call("Ping")
    print(f"daemon {ping['version']}, pid {ping['pid']}, at {sky.endpoint}")

    columns = "id INTEGER PRIMARY KEY, name TEXT UNIQUE, magnitude REAL, gaia_id INTEGER, image BLOB"
    insert = "INSERT INTO example_stars (name, magnitude, gaia_id, image) VALUES (?, ?, ?, ?)"
    create = [statement("DROP TABLE IF EXISTS example_stars"), statement(f"CREATE TABLE example_stars ({columns})")]
    vega = statement(insert, ["Vega", 0.03, 2**63 - 1, b"\x89PNG\x00"])
    reply = sky.batch([*create, vega, statement(insert, ["Antares", 1.0, 4, None])], db)
    print(f"rev {reply['rev']}, epoch {reply['epoch']}, {reply['rows_affected']} rows written")

    result = sky.execute("SELECT * FROM example_stars WHERE magnitude < :limit", {"limit": 2.0}, db)
    print(" | ".join(result["columns"]))
    for row in result["rows"]:
        print(" | ".join(map(repr, row)))

    try:
        sky.batch([vega], db)
    except SkylineError as error:
        print(f"refused: {error.code}, {error.reply.get('sqlite_code')}, {error.outcome}")


def main() -> int:
    parser = argparse.ArgumentParser(description="A short tour of SkylineDB.")
    parser.add_argument("--socket", metavar="PATH")
    parser.add_argument("--db", metavar="FILE", default="stars.db", help="default: stars.db in this folder")
    parser.add_argument("--default-db", action="store_true", help="name no file: data.db where the daemon keeps its data")
    args = parser.parse_args()
    try:
        with Skyline(args.socket) as sky:
            tour(sky, None if args.default_db else os.path.abspath(args.db))
        return 0
    except NoDaemon as error:
        print(f"{error} Start one with:\n  skylinedb-daemon --socket {endpoint(args.socket)}", file=sys.stderr)
        return 3
    except (SkylineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
