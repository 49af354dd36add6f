"""The objects that user code is given beside its trigger."""

from __future__ import annotations

import threading
import uuid
from types import SimpleNamespace
from typing import Any

import azure.functions as func

from localhost.worker.invocation import Invocation

_thread_local = threading.local()


class FunctionContext(func.Context):
    """What a parameter ``context: func.Context`` receives."""

    def __init__(self, invocation: Invocation, function_directory: str) -> None:
        self._invocation = invocation
        self._function_directory = function_directory
        self._trace_context = SimpleNamespace(
            trace_parent=f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00",
            trace_state="",
            attributes={},
        )
        self._retry_context = SimpleNamespace(
            retry_count=0, max_retry_count=0, exception=None
        )

    @property
    def invocation_id(self) -> str:
        return self._invocation.invocation_id

    @property
    def function_name(self) -> str:
        return self._invocation.function_name

    @property
    def function_directory(self) -> str:
        return self._function_directory

    @property
    def thread_local_storage(self) -> Any:
        return _thread_local

    @property
    def trace_context(self) -> Any:
        return self._trace_context

    @property
    def retry_context(self) -> Any:
        return self._retry_context


class OutValue(func.Out[Any]):
    """What a parameter ``func.Out[...]`` receives; None until the code sets it."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        self._value = val

    def get(self) -> Any:
        return self._value
