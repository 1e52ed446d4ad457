"""What needs no daemon: values, frames, the rules for places."""

from __future__ import annotations

import enum
import json
import os
import random
import struct
import tempfile
import unittest
from typing import Any

from skylinedb import SkylineError
from skylinedb.endpoint import Surroundings, check_socket_folder, data_folder, make_socket_folder, resolve_endpoint
from skylinedb.frames import MAX_REPLY, FrameDecoder, encode_frame
from skylinedb.values import decode_cell, encode_value


class Color(enum.IntEnum):
    RED = 3


class Values(unittest.TestCase):
    def test_every_storage_class_travels_as_the_protocol_says(self) -> None:
        wire = {
            "null": (None, None),
            "true": (True, True),
            "safe": (2**53 - 1, 2**53 - 1),
            "beyond": (2**53, {"$int": "9007199254740992"}),
            "least": (-(2**63), {"$int": "-9223372036854775808"}),
            "enumeration": (Color.RED, 3),
            "fraction": (0.5, 0.5),
            "whole": (2.0, {"$real": 2.0}),
            "large": (1e300, {"$real": 1e300}),
            "minus zero": (-0.0, {"$real": "-0"}),
            "infinity": (float("-inf"), {"$real": "-Infinity"}),
            "text": ("ü\0", "ü\0"),
            "blob": (b"\x00\xff", {"$blob": "AP8="}),
            "no bytes": (bytearray(), {"$blob": ""}),
        }
        for name, (value, expected) in wire.items():
            with self.subTest(name):
                encoded = encode_value(value)
                self.assertEqual(encoded, expected)
                # As JSON text: True is no 1, and 2.0 no 2 there.
                self.assertEqual(json.dumps(encoded), json.dumps(expected))

    def test_cells_come_back_as_they_were(self) -> None:
        for value in (None, 2**63 - 1, -(2**63), 5, 0.5, float("inf"), "x", b"\x00", b""):
            with self.subTest(repr(value)):
                back = decode_cell(json.loads(json.dumps(encode_value(value))))
                self.assertEqual((type(back), back), (type(value), value))
        self.assertEqual((type(decode_cell(json.loads("2.0"))), type(decode_cell(json.loads("2")))), (float, int))

    def test_what_sqlite_cannot_hold_is_refused(self) -> None:
        bad: Any
        for bad in (float("nan"), 2**63, -(2**63) - 1, "\ud83d", [1], {"$int": "1"}, object()):
            with self.subTest(repr(bad)), self.assertRaises(SkylineError) as caught:
                encode_value(bad)
            self.assertEqual((caught.exception.code, caught.exception.outcome), ("INVALID_REQUEST", "not_applied"))

    def test_a_cell_that_is_none_is_refused(self) -> None:
        for bad in ({"$int": 1}, {"$int": "x"}, {"$blob": "?"}, {"$blob": 1}, {"$x": 1}, {}, [], True, {"$real": None}):
            with self.subTest(repr(bad)), self.assertRaises(SkylineError):
                decode_cell(bad)


class Frames(unittest.TestCase):
    def test_frames_arrive_however_they_are_cut(self) -> None:
        messages = [{"n": n, "text": "ü" * n} for n in range(40)]
        data = b"".join(encode_frame(message, 1000) for message in messages)
        rng = random.Random(7)
        for _ in range(50):
            decoder, at, got = FrameDecoder(), 0, []
            while at < len(data):
                step = rng.randint(1, 100)
                decoder.push(data[at : at + step])
                at += step
                message = decoder.next()
                while message is not None:
                    got.append(message)
                    message = decoder.next()
            self.assertEqual(got, messages)

    def test_a_bad_frame_is_refused_from_its_header_or_text(self) -> None:
        def frame(payload: bytes) -> bytes:
            return struct.pack("<I", len(payload)) + payload

        deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        for bad in (
            struct.pack("<I", 0),
            struct.pack("<I", MAX_REPLY + 1),
            frame(b"[]"),
            frame(b"{"),
            frame(b"\xff"),
            frame(b'{"a":NaN}'),
            frame(deep),
        ):
            decoder = FrameDecoder()
            decoder.push(bad)
            with self.subTest(bad[:20]), self.assertRaises(ValueError):
                decoder.next()

    def test_a_request_that_is_too_long_is_not_sent(self) -> None:
        with self.assertRaises(SkylineError) as caught:
            encode_frame({"text": "ü" * 60}, 100)
        self.assertEqual(caught.exception.code, "FRAME_TOO_LARGE")
        self.assertEqual(caught.exception.details, {"limit": "max_frame", "limit_value": 100})


class Places(unittest.TestCase):
    def around(self, platform: str, env: Any) -> Surroundings:
        return Surroundings(platform=platform, env=env, uid=1000, home="/home/ada")

    def test_the_endpoint_of_each_platform(self) -> None:
        for platform, env, option, expected in (
            ("linux", {"XDG_RUNTIME_DIR": "/run/user/1000"}, None, "/run/user/1000/skylinedb/v1.sock"),
            ("linux", {"XDG_RUNTIME_DIR": "run"}, None, "/tmp/skylinedb-1000/v1.sock"),
            ("darwin", {}, None, "/tmp/skylinedb-1000/v1.sock"),
            ("linux", {"SKYLINEDB_SOCKET": "/a/b.sock"}, None, "/a/b.sock"),
            ("linux", {"SKYLINEDB_SOCKET": "/a/b.sock"}, "/c/../d.sock", "/d.sock"),
            ("win32", {}, None, r"\\.\pipe\SkylineDBd-v1"),
            ("win32", {"SKYLINEDB_SOCKET": r"C:\x\y.sock"}, None, r"\\.\pipe\C--x-y.sock"),
            ("win32", {}, r"\\.\pipe\own", r"\\.\pipe\own"),
        ):
            with self.subTest(platform=platform, env=env):
                self.assertEqual(resolve_endpoint(self.around(platform, env), option), expected)

    def test_a_socket_path_that_the_system_would_cut_is_refused(self) -> None:
        for platform, most in (("linux", 107), ("darwin", 103)):
            around = self.around(platform, {})
            self.assertEqual(len(resolve_endpoint(around, "/" + "x" * (most - 1))), most)
            with self.assertRaises(SkylineError) as caught:
                resolve_endpoint(around, "/" + "x" * most)
            self.assertEqual(caught.exception.code, "INVALID_REQUEST")

    def test_the_data_folder_of_each_platform(self) -> None:
        for platform, env, expected in (
            ("linux", {}, "/home/ada/.local/share/skylinedb"),
            ("linux", {"XDG_DATA_HOME": "/x"}, "/x/skylinedb"),
            ("darwin", {}, "/home/ada/Library/Application Support/SkylineDB"),
            ("win32", {"LOCALAPPDATA": r"C:\L"}, r"C:\L\SkylineDB\data"),
            ("linux", {"SKYLINEDB_DATA_DIR": "/d"}, "/d"),
        ):
            with self.subTest(platform=platform, env=env):
                self.assertEqual(data_folder(self.around(platform, env)), expected)

    def test_a_folder_that_is_not_the_users_alone_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            uid = os.getuid()
            socket = os.path.join(folder, "s", "v1.sock")
            self.assertFalse(check_socket_folder(socket, uid))
            make_socket_folder(socket, uid)
            self.assertTrue(check_socket_folder(socket, uid))
            os.symlink(os.path.join(folder, "s"), os.path.join(folder, "link"))
            open(os.path.join(folder, "file"), "w", encoding="ascii").close()
            open(os.path.join(folder, "s", "plain"), "w", encoding="ascii").close()
            os.mkdir(os.path.join(folder, "open"))
            os.chmod(os.path.join(folder, "open"), 0o750)
            for path, owner, why in (
                ("link/v1.sock", uid, "symbolic link"),
                ("file/v1.sock", uid, "not a folder"),
                ("open/v1.sock", uid, "open to others (mode 0750)"),
                ("s/v1.sock", uid + 1, "belongs to user"),
                ("s/plain", uid, "not a socket"),
            ):
                with self.subTest(why), self.assertRaises(SkylineError) as caught:
                    check_socket_folder(os.path.join(folder, path), owner)
                self.assertEqual((caught.exception.code, caught.exception.retryable), ("NO_DAEMON", False))
                self.assertIn(why, caught.exception.message)


if __name__ == "__main__":
    unittest.main()
