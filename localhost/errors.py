"""What can go wrong in the host itself; imports nothing of ours.

A fault of a user's function is never one of these: it is a result (see
``localhost.app.in_process.Raised``) and becomes an event of the history.
"""

from __future__ import annotations


class HostError(Exception):
    """Something in the host went wrong; the text says what to do next."""


class CannotStartError(HostError):
    """The host cannot start (exit code 3): a file, a port, Node, the storage.

    The text names the place, what was found, what is expected and what to do.
    """


class CannotGoOnError(HostError):
    """The host ran, but cannot go on (exit code 1): the storage refuses it now.

    The text is made as that of ``CannotStartError``.
    """


class StorageError(HostError):
    """The storage service answered a request with an error that was not expected.

    ``status`` is the HTTP status, ``code`` the service's own word for it
    (``QueueNotFound``, ``UpdateConditionNotSatisfied`` …).
    """

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class UnavailableError(HostError):
    """The storage service does not answer, and the host no longer waits for it."""


class NotFoundError(StorageError):
    """What was asked for is not in the storage (404)."""


class ConflictError(StorageError):
    """What was to be created is there already, or a lease forbids it (409)."""


class PreconditionError(StorageError):
    """Another writer changed it first: the ETag no longer matches (412)."""


class ArgumentError(HostError):
    """A request to the Durable client names something that cannot be."""


class InstanceExistsError(HostError):
    """An instance with this id exists and is not finished."""

    def __init__(self, status: str) -> None:
        super().__init__(
            f"An Orchestration instance with the status {status} already exists."
        )


class InvalidStateError(HostError):
    """The instance is in a state in which the operation makes no sense."""
