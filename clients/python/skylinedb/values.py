"""SQLite's five storage classes as Python values and as JSON, exactly (docs/protocol.md, section 4).

===========  =====================  ==========================
SQLite       Python                 on the wire
===========  =====================  ==========================
NULL         ``None``               ``null``
INTEGER      ``int`` (``bool``)     a number, or ``$int`` beyond 2^53
REAL         ``float``              a number, or ``$real``
TEXT         ``str``                a string
BLOB         ``bytes``              ``$blob``
===========  =====================  ==========================

A ``float`` is always stored as REAL and an ``int`` as INTEGER, whatever their size.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any, Mapping, Sequence, Union

from .errors import SkylineError, invalid_request

#: What a parameter may be.
SqlInput = Union[None, bool, int, float, str, bytes, bytearray, memoryview]
#: What a row holds.
SqlOutput = Union[None, int, float, str, bytes]
#: Parameters by position, or by name (with or without the ``:``, ``@`` or ``$``).
Params = Union[Sequence[SqlInput], Mapping[str, SqlInput]]

_SAFE = 2**53 - 1


def check_value(value: Any) -> SqlInput:
    """Refuses what SQLite cannot hold as it is.

    :raises SkylineError: ``INVALID_REQUEST`` for NaN, lone surrogates, more than 64 bits and foreign types
    """
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise invalid_request("The text has a lone surrogate, which UTF-8 cannot hold.") from None
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise invalid_request("The number does not fit into 64 bits.")
    elif isinstance(value, float):
        if math.isnan(value):
            raise invalid_request("NaN cannot be stored: SQLite would turn it into NULL.")
    elif value is not None and not isinstance(value, (bytes, bytearray, memoryview)):
        raise invalid_request(
            f"A value of type {type(value).__name__} cannot be stored; use None, an int, a float, a str or bytes."
        )
    checked: SqlInput = value
    return checked


def encode_value(value: SqlInput) -> Any:
    """A Python value as the protocol writes it."""
    value = check_value(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$blob": base64.b64encode(value).decode("ascii")}
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        # A subclass, of an enumeration for instance, is stored as its number.
        return int(value) if abs(value) <= _SAFE else {"$int": str(int(value))}
    if isinstance(value, float):
        if math.isinf(value):
            return {"$real": "Infinity" if value > 0 else "-Infinity"}
        if value == 0 and math.copysign(1, value) < 0:
            return {"$real": "-0"}
        # 2.0 is the same JSON number as 2: without the tag it would be stored as INTEGER.
        return {"$real": float(value)} if value.is_integer() else float(value)
    return value if value is None else str.__str__(value)


def decode_cell(cell: Any) -> SqlOutput:
    """A cell of a row as a Python value. The json module reads ``2`` as int and ``2.0`` as float.

    :raises SkylineError: ``PROTOCOL_ERROR`` for what is no value
    """
    if cell is None or isinstance(cell, (int, float, str)) and not isinstance(cell, bool):
        return cell
    if isinstance(cell, dict) and len(cell) == 1:
        ((tag, content),) = cell.items()
        try:
            if tag == "$int" and isinstance(content, str):
                return int(content)
            if tag == "$real":
                return float(content)
            if tag == "$blob" and isinstance(content, str):
                return base64.b64decode(content, validate=True)
        except (ValueError, TypeError, binascii.Error):
            pass
    raise SkylineError("PROTOCOL_ERROR", "The daemon sent a cell that is no SQLite value.", outcome="unknown")


def by_name(params: Any) -> bool:
    """Whether parameters are given by name.

    :raises SkylineError: ``INVALID_REQUEST`` when they are neither a mapping nor a sequence
    """
    if isinstance(params, Mapping):
        return True
    if isinstance(params, Sequence) and not isinstance(params, (str, bytes, bytearray, memoryview)):
        return False
    raise invalid_request("Parameters are a sequence, such as [1, 'x'], or a mapping, such as {'a': 1}.")


def encode_params(params: Params) -> Any:
    """Parameters as the protocol writes them."""
    if by_name(params):
        assert isinstance(params, Mapping)
        return {str(name): encode_value(value) for name, value in params.items()}
    return [encode_value(value) for value in params]
