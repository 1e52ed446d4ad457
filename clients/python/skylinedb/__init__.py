"""Client for SkylineDB, a local daemon that makes SQLite safe and fast for many processes.

::

    from skylinedb import connect

    with connect() as sky:                      # starts the daemon if none runs
        db = sky.database("stars.db")
        db.exec("CREATE TABLE IF NOT EXISTS stars (id INTEGER PRIMARY KEY, name TEXT)")
        db.run("INSERT INTO stars (name) VALUES (?)", ["Sirius"])
        with db.reader() as reader:             # direct and read-only
            print(reader.all("SELECT * FROM stars"))
"""

from ._version import __version__
from .batch import BatchResult, BatchStatement, ExecResult, Result, Statement
from .client import Client, connect
from .database import Database
from .errors import SkylineError
from .reader import Reader
from .transaction import Transaction
from .values import Params, SqlInput, SqlOutput

__all__ = [
    "BatchResult",
    "BatchStatement",
    "Client",
    "Database",
    "ExecResult",
    "Params",
    "Reader",
    "Result",
    "SkylineError",
    "SqlInput",
    "SqlOutput",
    "Statement",
    "Transaction",
    "__version__",
    "connect",
]
