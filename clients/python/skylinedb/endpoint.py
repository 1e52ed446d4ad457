"""Where the daemon listens, and whether that place is the user's alone (docs/protocol.md, section 1).

The rules are pure: platform, environment and user come as parameters, so that each platform's can be tested on any other.
"""

from __future__ import annotations

import errno
import ntpath
import os
import posixpath
import re
import stat
import sys
from dataclasses import dataclass, field
from typing import Mapping, Optional

from .errors import SkylineError, invalid_request, no_daemon

PIPE = "\\\\.\\pipe\\"


@dataclass(frozen=True)
class Surroundings:
    """The process's surroundings."""

    platform: str = sys.platform
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    #: Numeric user id; -1 on Windows, which has none.
    uid: int = field(default_factory=lambda: -1 if sys.platform == "win32" else os.getuid())
    home: str = field(default_factory=lambda: os.path.expanduser("~"))


def resolve_endpoint(around: Surroundings, option: Optional[str] = None) -> str:
    """The endpoint: the option, else ``SKYLINEDB_SOCKET``, else the platform's place.

    :raises SkylineError: ``INVALID_REQUEST`` for a path that is longer than the platform takes
    """
    chosen = option or around.env.get("SKYLINEDB_SOCKET")
    if around.platform == "win32":
        name = chosen or "SkylineDBd-v1"
        return name if name.startswith(PIPE) else PIPE + re.sub(r"[\\/:]", "-", name.lstrip("\\/"))
    if chosen:
        path = posixpath.normpath(posixpath.join(os.getcwd(), chosen))
    else:
        runtime = _absolute(around.env.get("XDG_RUNTIME_DIR"))
        folder = posixpath.join(runtime, "skylinedb") if runtime else f"/tmp/skylinedb-{around.uid}"
        path = posixpath.join(folder, "v1.sock")
    # sun_path, the NUL at its end included: unix(7), and sys/un.h of macOS.
    most = 104 if around.platform == "darwin" else 108
    length = len(os.fsencode(path)) + 1
    if length > most:
        raise invalid_request(
            f"The socket path has {length} bytes with its end mark; this system takes {most}: {path}. "
            "Choose a shorter one with the option socket or SKYLINEDB_SOCKET."
        )
    return path


def data_folder(around: Surroundings) -> str:
    """Where a daemon that a client starts keeps databases with relative names."""
    chosen = around.env.get("SKYLINEDB_DATA_DIR")
    if chosen:
        return os.path.abspath(chosen)
    if around.platform == "win32":
        local = around.env.get("LOCALAPPDATA") or ntpath.join(around.home, "AppData", "Local")
        return ntpath.join(local, "SkylineDB", "data")
    if around.platform == "darwin":
        return posixpath.join(around.home, "Library", "Application Support", "SkylineDB")
    base = _absolute(around.env.get("XDG_DATA_HOME")) or posixpath.join(around.home, ".local", "share")
    return posixpath.join(base, "skylinedb")


def make_socket_folder(endpoint: str, uid: int) -> None:
    """Makes the socket's folder if it is missing, and checks it."""
    if endpoint.startswith(PIPE):
        return
    folder = os.path.dirname(endpoint)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except FileExistsError:
        pass  # A file or a dangling link is in the way; the check says which.
    except OSError as error:
        raise _refused(folder, f"cannot be made ({error.strerror})", "Choose another place with SKYLINEDB_SOCKET.")
    check_socket_folder(endpoint, uid)


def check_socket_folder(endpoint: str, uid: int) -> bool:
    """Refuses a folder in which somebody else could have put the socket.

    :returns: False when it does not exist: no daemon has ever listened there
    :raises SkylineError: ``NO_DAEMON``, saying what to do
    """
    if endpoint.startswith(PIPE):
        return True
    folder = os.path.dirname(endpoint)
    info = _lstat(folder)
    if info is None:
        return False
    if stat.S_ISLNK(info.st_mode):
        raise _refused(folder, "is a symbolic link", "Remove it, or name the real folder with SKYLINEDB_SOCKET.")
    if not stat.S_ISDIR(info.st_mode):
        raise _refused(folder, "is not a folder", "Remove it, or choose another place with SKYLINEDB_SOCKET.")
    if info.st_uid != uid:
        why = f"belongs to user {info.st_uid}, not to you ({uid})"
        raise _refused(folder, why, "Choose a folder of your own with SKYLINEDB_SOCKET.")
    if info.st_mode & 0o077:
        why = f"is open to others (mode {stat.S_IMODE(info.st_mode):04o})"
        raise _refused(folder, why, f"Run: chmod 700 '{folder}', or choose another place with SKYLINEDB_SOCKET.")
    socket = _lstat(endpoint)
    if socket is not None and socket.st_uid != uid:
        raise _refused(endpoint, f"belongs to user {socket.st_uid}, not to you ({uid})", "Remove it.")
    if socket is not None and not stat.S_ISSOCK(socket.st_mode):
        raise _refused(endpoint, "is not a socket", "Remove it, or choose another place with SKYLINEDB_SOCKET.")
    return True


def _lstat(path: str) -> Optional[os.stat_result]:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error))
        raise _refused(path, f"cannot be looked at ({name})", "Choose another place with SKYLINEDB_SOCKET.")


def _absolute(path: Optional[str]) -> Optional[str]:
    # The XDG base directory specification says to ignore relative paths.
    return path if path and path.startswith("/") else None


def _refused(path: str, why: str, remedy: str) -> SkylineError:
    return no_daemon(f"Refusing the socket at {path}: it {why}. {remedy}", retryable=False)
