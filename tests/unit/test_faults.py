"""What the host's own code raises: how often it is tried, and what is said."""

from __future__ import annotations

import pytest

from localhost.durable.faults import MOST_TRIES, Faults, sentence_of
from localhost.errors import HostError, StorageError, UnavailableError


def refused(status: int) -> StorageError:
    return StorageError("no", status=status, code="")


def test_what_nobody_foresaw_is_tried_some_times() -> None:
    """Each instance has tries of its own; a success gives them back."""
    faults = Faults()
    tries = [faults.is_final("a", ValueError()) for _ in range(MOST_TRIES)]

    assert [*[False] * (MOST_TRIES - 1), True] == tries
    assert not faults.is_final("b", ValueError())
    faults.forget("a")
    assert not faults.is_final("a", ValueError())


@pytest.mark.parametrize("status", [400, 413])
def test_what_the_storage_refuses_for_good_is_not_tried_again(status: int) -> None:
    """The same request would be refused again."""
    assert Faults().is_final("a", refused(status))


@pytest.mark.parametrize("error", [UnavailableError("away"), refused(403)])
def test_what_is_of_the_account_ends_no_instance(error: Exception) -> None:
    """However often it comes."""
    faults = Faults()

    assert not any(faults.is_final("a", error) for _ in range(3 * MOST_TRIES))


def test_the_sentence_names_the_fault() -> None:
    """By its class, unless it is told in a sentence already."""
    assert sentence_of("it", KeyError("x")).endswith("it: KeyError: 'x'")
    assert sentence_of("it", HostError("a row is odd")).endswith("it: a row is odd")
