"""Frames: a length, then that many bytes of JSON (docs/protocol.md, section 2). No I/O: bytes in, objects out."""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, Mapping, Optional

from .errors import SkylineError

#: An answer can be as large as the daemon's ``--max-frame`` allows; no more than this is believed.
MAX_REPLY = 1024 * 1024 * 1024
_HEADER = struct.Struct("<I")


def encode_frame(message: Mapping[str, Any], max_frame: int) -> bytes:
    """A request's bytes.

    :raises SkylineError: ``FRAME_TOO_LARGE``
    """
    payload = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    if len(payload) > max_frame:
        raise SkylineError(
            "FRAME_TOO_LARGE",
            f"The request has {len(payload)} bytes; the daemon takes {max_frame}. Send it in smaller batches.",
            details={"limit": "max_frame", "limit_value": max_frame},
        )
    return _HEADER.pack(len(payload)) + payload


class FrameDecoder:
    """Cuts frames out of what is read. A bad length is refused before anything is kept for it."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def push(self, chunk: bytes) -> None:
        """Takes what was read, however it was cut."""
        self._bytes += chunk

    def next(self) -> Optional[Dict[str, Any]]:
        """The next frame's object, or None while it is not complete.

        :raises ValueError: it is no frame of the protocol; the stream cannot be trusted any more
        """
        if len(self._bytes) < _HEADER.size:
            return None
        (length,) = _HEADER.unpack_from(self._bytes)
        if not 0 < length <= MAX_REPLY:
            raise ValueError(f"a frame of {length} bytes")
        end = _HEADER.size + length
        if len(self._bytes) < end:
            return None
        payload = bytes(self._bytes[_HEADER.size : end])
        del self._bytes[:end]
        try:
            message = json.loads(payload.decode("utf-8"), parse_constant=_refuse)
        except RecursionError:
            raise ValueError("JSON that is nested too deep") from None
        if not isinstance(message, dict):
            raise ValueError("a frame that is no object")
        return message


def _refuse(name: str) -> None:
    raise ValueError(f"{name}, which is no JSON")
