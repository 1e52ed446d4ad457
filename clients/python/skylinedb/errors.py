"""The one exception of this package."""

from __future__ import annotations

from typing import Any, Mapping, Optional

# Worth sending again unchanged: the reason lies outside of the request and may pass.
_RETRYABLE = frozenset({"NO_DAEMON", "CONNECTION_LOST", "TIMEOUT", "BUSY"})


class SkylineError(Exception):
    """Any failure that SkylineDB reports. Match ``code``; the message says which side failed and what to do next.

    code: a code of the protocol (``SQL_ERROR``, ``BUSY``, …), or one that clients add: ``NO_DAEMON``,
        ``CONNECTION_LOST``, ``ABORTED``. Treat one that you do not know like ``INTERNAL``.
    outcome: what became of the request: ``not_applied``, ``partial`` or ``unknown``.
    retryable: whether sending the same again is safe and may succeed; never unless nothing of it was applied.
    details: what else is known: ``sqlite_code``, ``statement_index``, ``holders``, … by their names in the protocol.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        outcome: str = "not_applied",
        retryable: Optional[bool] = None,
        details: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.outcome = outcome
        self.retryable = outcome == "not_applied" and code in _RETRYABLE if retryable is None else retryable
        self.details: Mapping[str, Any] = dict(details or {})

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def from_reply(reply: Mapping[str, Any]) -> SkylineError:
    """The daemon's error, from its frame."""
    code, message, outcome = reply.get("code"), reply.get("message"), reply.get("outcome")
    return SkylineError(
        code if isinstance(code, str) else "INTERNAL",
        message if isinstance(message, str) else "The daemon gave no reason.",
        # Not said, or said in a way that this version does not know: nobody may take it for harmless.
        outcome=outcome if outcome in ("not_applied", "partial") else "unknown",
        retryable=reply.get("retryable") is True and outcome == "not_applied",
        details={
            name: value
            for name, value in reply.items()
            if name not in ("status", "id", "code", "message", "outcome", "retryable")
        },
    )


def invalid_request(message: str, **details: Any) -> SkylineError:
    """What the caller passed cannot be sent."""
    return SkylineError("INVALID_REQUEST", message, details=details)


def no_daemon(message: str, retryable: bool = True) -> SkylineError:
    """There is no daemon to talk to, and why."""
    return SkylineError("NO_DAEMON", message, retryable=retryable)


def connection_lost(why: str) -> SkylineError:
    """The request may have arrived; its answer did not."""
    return SkylineError(
        "CONNECTION_LOST",
        f"The connection to the daemon is gone: {why}. Whether the request was carried out is unknown: "
        "look before you send it again.",
        outcome="unknown",
    )


def not_sent(why: str) -> SkylineError:
    """Nothing of the request has left this process."""
    return SkylineError("CONNECTION_LOST", f"The request was not sent: {why}.")


def no_answer(seconds: float, outcome: str) -> SkylineError:
    """The daemon has missed the time that it had."""
    what = "It was not sent" if outcome == "not_applied" else "Whether the request was carried out is unknown"
    return SkylineError("TIMEOUT", f"The daemon did not answer within {seconds:g} s. {what}.", outcome=outcome)


def closed_client() -> SkylineError:
    """The application has closed the client itself."""
    return SkylineError("ABORTED", "This client is closed. Call connect() for a new one.")
