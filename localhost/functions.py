"""The app's Durable functions by their names: what ``durable`` calls; for ``host``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from localhost.app.catalog import Catalog
from localhost.app.catalog import Kind as DeclaredKind
from localhost.app.port import Callers
from localhost.declared import DURABLE_CLIENTS, Binding, Function, FunctionApp
from localhost.durable.execution import Kind
from localhost.durable.program import HTTP_ACTIVITY
from localhost.errors import HostError
from localhost.outcome import Outcome, Raised

_DECLARED_KIND: Mapping[Kind, DeclaredKind] = {
    "activity": "activity",
    "orchestrator": "orchestration",
    "entity": "entity",
}


class DurableFunctions:
    """Calls orchestrators, activities and entities, and says which there are.

    ``call_http`` does the one activity that is the host's own. ``client_binding`` makes
    the text of a durableClient binding; set before any call.
    """

    def __init__(
        self,
        app: FunctionApp,
        callers: Callers,
        *,
        call_http: Callable[[str], Awaitable[Outcome]],
    ) -> None:
        self._app = app
        self._call_http = call_http
        self._callers = callers
        self._catalog = Catalog(app)
        self.client_binding: Callable[[Binding], str] = _no_binding

    async def orchestrator(self, name: str, body: str, instance_id: str) -> Outcome:
        """Call an orchestrator with its context body."""
        return await self._call("orchestrator", name, body, instance_id)

    async def activity(self, name: str, input_: str, instance_id: str) -> Outcome:
        """Call an activity with its input, JSON text."""
        if name == HTTP_ACTIVITY:
            return await self._call_http(input_)
        return await self._call("activity", name, input_, instance_id)

    async def entity(self, name: str, batch: str, instance_id: str) -> Outcome:
        """Call an entity with a batch of operations."""
        return await self._call("entity", name, batch, instance_id)

    async def by_name(self, function_name: str, text: str) -> None:
        """Call a function that has no HTTP trigger, as ``/admin/functions`` does."""
        for function in self._app.functions:
            if function.name == function_name:
                await self._invoke(function, text, "-", is_from_outside=True)

    def unknown(self, kind: Kind, name: str) -> str | None:
        """Return None for a function that exists, else the text of the extension."""
        if self._catalog.find(_DECLARED_KIND[kind], name) is not None:
            return None
        names = self._catalog.names(_DECLARED_KIND[kind])
        known = ", ".join(f"'{known}'" for known in names)
        return (
            f"The function '{name}' doesn't exist, is disabled, or is not an {kind}"
            " function. Additional info: "
            + (
                f"The following are the known {kind} functions: {known}."
                if known
                else f"No {kind} functions are currently registered!"
            )
        )

    async def _call(
        self, kind: Kind, name: str, text: str, instance_id: str
    ) -> Outcome:
        function = self._catalog.find(_DECLARED_KIND[kind], name)
        if function is None:
            what = f"{kind.title()} function '{name}'"
            message = f"{what} failed: {what} does not exist."
            return Raised(type_name="", message=message, traceback="")
        return await self._invoke(function, text, instance_id)

    async def _invoke(
        self,
        function: Function,
        text: str,
        instance_id: str,
        *,
        is_from_outside: bool = False,
    ) -> Outcome:
        bindings = {
            binding.name: self.client_binding(binding)
            for binding in function.bindings
            if binding.type in DURABLE_CLIENTS
        }
        return await self._callers.invoke(
            function,
            text,
            instance_id=instance_id,
            bindings=bindings,
            is_from_outside=is_from_outside,
        )


def _no_binding(binding: Binding) -> str:
    raise HostError(f"the binding {binding.name} was asked for before the host is open")
