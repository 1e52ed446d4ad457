"""A batch as applications write it, and what comes of it; and both as they travel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .errors import SkylineError, invalid_request
from .values import Params, SqlOutput, decode_cell, encode_params

Row = Tuple[SqlOutput, ...]


@dataclass(frozen=True)
class Statement:
    """One statement of a batch."""

    sql: str
    params: Optional[Params] = None
    #: Runs the statement once for each; excludes ``params``. The fast way to insert many rows.
    param_sets: Optional[Sequence[Params]] = None
    #: The whole batch fails with ``EXPECTATION_FAILED`` unless the statement changed so many rows.
    expect_rows_affected: Optional[int] = None


#: A plain string has no parameters; a pair is the SQL and its parameters.
BatchStatement = Union[str, Tuple[str, Params], Statement]


@dataclass(frozen=True)
class Result:
    """What one statement did."""

    rows_affected: int
    #: Where the statement inserted a row.
    last_insert_rowid: Optional[int] = None
    #: For whatever returns rows; they are tuples in the order of ``columns``.
    columns: Tuple[str, ...] = ()
    rows: Tuple[Row, ...] = ()

    def dicts(self) -> List[Dict[str, SqlOutput]]:
        """The rows by their columns' names. Columns of the same name fall together."""
        return [dict(zip(self.columns, row)) for row in self.rows]


@dataclass(frozen=True)
class BatchResult:
    """What a batch did, and where the database stands after it.

    ``rev`` counts the committed batches that wrote; ``epoch`` rises when the file is replaced.
    """

    rev: int
    epoch: int
    rows_affected: int
    #: One for each statement, unless they were left out.
    results: Tuple[Result, ...]


@dataclass(frozen=True)
class ExecResult(Result):
    """What a single statement did, and where the database stands after it."""

    rev: int = 0
    epoch: int = 0


def encode_batch(
    statements: Sequence[BatchStatement],
    *,
    tx: Optional[str] = None,
    durable: Optional[bool] = None,
    expect_rev: Optional[int] = None,
    expect_epoch: Optional[int] = None,
    timeout: Optional[float] = None,
    results: Optional[bool] = None,
) -> Dict[str, Any]:
    """A batch's fields.

    :raises SkylineError: ``INVALID_REQUEST`` naming the statement
    """
    if isinstance(statements, (str, bytes)) or not isinstance(statements, Sequence):
        raise invalid_request("A batch is a list of statements.")
    fields: Dict[str, Any] = {"stmts": [_encode(statement, at) for at, statement in enumerate(statements)]}
    options = {
        "tx": tx,
        "durable": durable,
        "expect_rev": expect_rev,
        "expect_epoch": expect_epoch,
        "timeout_ms": milliseconds(timeout),
        "results": results,
    }
    fields.update((name, value) for name, value in options.items() if value is not None)
    return fields


def milliseconds(timeout: Optional[float]) -> Optional[int]:
    """A time in seconds, as the protocol wants it."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        raise invalid_request("A timeout is a number of seconds above 0.")
    return max(1, round(timeout * 1000))


def _encode(statement: BatchStatement, at: int) -> Dict[str, Any]:
    if isinstance(statement, str):
        statement = Statement(statement)
    elif isinstance(statement, tuple) and len(statement) == 2:
        statement = Statement(*statement)
    if not isinstance(statement, Statement) or not isinstance(statement.sql, str):
        raise invalid_request(
            f"Statement {at}: it is a string, a pair of SQL and parameters, or a Statement.", statement_index=at
        )
    fields: Dict[str, Any] = {"sql": statement.sql}
    try:
        statement.sql.encode("utf-8")
        if statement.params is not None:
            fields["params"] = encode_params(statement.params)
        if statement.param_sets is not None:
            fields["param_sets"] = [encode_params(params) for params in statement.param_sets]
    except UnicodeEncodeError:
        raise invalid_request(f"Statement {at}: its SQL has a lone surrogate.", statement_index=at) from None
    except SkylineError as error:
        raise invalid_request(f"Statement {at}: {error.message}", statement_index=at) from error
    if statement.expect_rows_affected is not None:
        fields["expect"] = {"rows_affected": statement.expect_rows_affected}
    return fields


def decode_batch(reply: Mapping[str, Any]) -> BatchResult:
    """A batch's result, from its reply."""
    results = reply.get("results", [])
    return BatchResult(
        rev=whole(reply, "rev"),
        epoch=whole(reply, "epoch"),
        rows_affected=whole(reply, "rows_affected"),
        results=tuple(_decode(result) for result in _list(results)),
    )


def decode_exec(reply: Mapping[str, Any]) -> ExecResult:
    """The result of a batch's only statement."""
    batch = decode_batch(reply)
    result = batch.results[0] if batch.results else Result(batch.rows_affected)
    return ExecResult(
        result.rows_affected, result.last_insert_rowid, result.columns, result.rows, batch.rev, batch.epoch
    )


def whole(reply: Mapping[str, Any], name: str) -> int:
    """A field of a reply that must be a whole number."""
    value = reply.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise unexpected(name)


def unexpected(name: str) -> SkylineError:
    """A reply is not what the protocol says."""
    return SkylineError("PROTOCOL_ERROR", f'The daemon sent another "{name}" than protocol 1 has.', outcome="unknown")


def _decode(result: Any) -> Result:
    if not isinstance(result, dict):
        raise unexpected("results")
    rowid = decode_cell(result.get("last_insert_rowid"))
    if rowid is not None and not isinstance(rowid, int):
        raise unexpected("last_insert_rowid")
    return Result(
        rows_affected=whole(result, "rows_affected"),
        last_insert_rowid=rowid,
        columns=tuple(str(column) for column in _list(result.get("columns", []))),
        rows=tuple(tuple(decode_cell(cell) for cell in _list(row)) for row in _list(result.get("rows", []))),
    )


def _list(value: Any) -> List[Any]:
    if isinstance(value, list):
        return value
    raise unexpected("results")
