"""What is said of a storage that cannot be asked, and from when on."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import time

import pytest

from localhost.taskhub.outage import LONG_TRY_S, Outage, Pending, reason_of

REFUSED = "nothing listens there; start it, unless that is under way"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), REFUSED),
        (
            OSError(
                f"Multiple exceptions: [Errno {errno.ECONNREFUSED}] Connect call failed"
                f" ('::1', 1), [Errno {errno.ECONNREFUSED}] Connect call failed"
            ),
            REFUSED,
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "its name is not known; check the network and the connection string",
        ),
        (TimeoutError(), "no answer came in time"),
        (ssl.SSLError(1, "wrong version"), "no secure connection: "),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "the connection broke off: "),
        (EOFError(), "the connection broke off: EOFError"),
    ],
)
def test_an_error_is_told_in_plain_words(error: Exception, reason: str) -> None:
    """What it means, and what can be done about it."""
    assert reason_of(error).startswith(reason)


def test_one_try_that_took_long_is_worth_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody should look at a silent console for two time limits."""
    request = Pending("http://there", began_s=time.monotonic() - LONG_TRY_S)

    Outage().failed(request, "no answer came in time")

    assert caplog.messages[0].startswith("The storage at http://there does not answer")


def test_a_try_that_was_given_up_before_a_line_is_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It must not make a later outage look longer."""
    caplog.set_level(logging.DEBUG)
    outage = Outage()
    old = Pending("http://there", began_s=time.monotonic())
    outage.failed(old, "reset")
    outage.left(old)
    new = Pending("http://elsewhere", began_s=time.monotonic() - LONG_TRY_S)
    outage.failed(new, "reset")
    outage.answered(new)

    assert ["does not answer" in m for m in caplog.messages] == [True, False]
