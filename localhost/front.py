"""The HTTP side of one app: what its server asks; wired for ``host``."""

from __future__ import annotations

import os
import platform
from functools import lru_cache

from localhost.app.port import Callers
from localhost.declared import Binding, FunctionApp
from localhost.durable.client import Client
from localhost.errors import CannotStartError
from localhost.functions import DurableFunctions
from localhost.keys import webhook_key
from localhost.settings import HOSTNAME, Settings, authority, connection
from localhost.web import payloads
from localhost.web.admin import Admin, HostIdentity
from localhost.web.admission import Admission
from localhost.web.management import Management
from localhost.web.routes import RouteTable
from localhost.web.server import Cors, KnownHosts, Server
from localhost.web.triggers import HttpTriggers

VERSION = "4.0.0-localhost"
CLOSE_LIMIT_S = 2.0
MOST_CONNECTION_NAMES = 64  # that queries name, each looked for once


class Front:
    """The HTTP side of one app: what its server asks."""

    def __init__(
        self,
        settings: Settings,
        app: FunctionApp,
        callers: Callers,
        functions: DurableFunctions,
        client: Client,
    ) -> None:
        self._settings = settings
        self._client = client
        self._is_open = False
        self._code = webhook_key(settings.app)
        self.table = RouteTable.from_functions(app.functions)
        self._triggers = HttpTriggers(
            callers,
            self.table,
            prefix=settings.route_prefix,
            client_binding=self.client_binding,
            custom_headers=settings.custom_headers,
        )
        self._admin = Admin(
            app,
            identity=HostIdentity(host_id=platform.node(), version=VERSION),
            prefix=settings.route_prefix,
            is_ready=self._is_ready,
            run=functions.by_name,
            run_http=self._triggers.run,
            is_homepage_disabled=not settings.homepage,
        )
        self._management = Management(
            client,
            admission=Admission(
                code=self._code,
                hub_name=client.hub_name,
                leads_here=lru_cache(maxsize=MOST_CONNECTION_NAMES)(self._leads_here),
            ),
            links_query=payloads.universal_query(
                hub=client.hub_name,
                connection=settings.durable.connection_name,
                code=self._code,
            ),
        )
        self.server = Server(
            address=settings.address,
            port=settings.port,
            built_in=[self._admin.handle],
            management=self._management.handle,
            functions=[self._triggers.handle, self._admin.home],
            is_ready=self._is_ready,
            cors=Cors(
                origins=settings.cors_origins,
                are_credentials_allowed=settings.cors_credentials,
            ),
            hosts=KnownHosts(address=settings.address, allowed=settings.allowed_hosts),
            listening=self._tell_address,
            stop_limit_s=CLOSE_LIMIT_S,
        )

    def open(self) -> None:
        """Answer requests from now on, not only those for ``/admin``."""
        self._is_open = True

    def _tell_address(self, port: int) -> None:
        """Let the app know where it is reached, before it is imported."""
        os.environ[HOSTNAME] = authority(self._settings.address, port)

    def _is_ready(self) -> bool:
        return self._is_open

    def _leads_here(self, connection_name: str) -> bool:
        try:
            return connection(os.environ, connection_name) == self._settings.storage
        except CannotStartError:
            return False

    def client_binding(self, binding: Binding) -> str:
        """Return what a durableClient binding hands to a function."""
        rpc = self.server.rpc_base_url if self._settings.durable.rpc_enabled else None
        return payloads.client_binding(
            host=authority(self._settings.address, self.server.port),
            hub=self._client.hub_name,
            binding_hub=_text(binding.properties.get("taskHub")),
            binding_connection=_text(
                binding.properties.get("connectionName")
                or binding.properties.get("connection")
            ),
            code=self._code,
            rpc_base_url=rpc,
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
