"""A relay that does as a test tells it: closes, wants a login, caps, falls silent.

For what no relay program does on demand. It passes ephemeral events on to whoever has
an open subscription that matches, and keeps nothing.
"""

from __future__ import annotations

import contextlib
import json
import random
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed


@dataclass
class _Client:
    connection: ServerConnection
    subscriptions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    is_logged_in: bool = False


def _matches(wanted: dict[str, Any], event: dict[str, Any]) -> bool:
    if "kinds" in wanted and event["kind"] not in wanted["kinds"]:
        return False
    if "authors" in wanted and event["pubkey"] not in wanted["authors"]:
        return False
    for name, values in wanted.items():
        if not name.startswith("#"):
            continue
        said = {t[1] for t in event["tags"] if len(t) > 1 and t[0] == name[1:]}
        if not said & set(values):
            return False
    return True


class ScriptedRelay:
    """`refuses` is the reason of CLOSED for every REQ while it is set."""

    def __init__(self) -> None:
        self.url = ""
        self.refuses: str | None = None
        self.refuses_by_notice = False
        self.is_mute = False
        self.says_ok: bool | None = True
        self.wants_login = False
        self.most_subscriptions: int | None = None
        self.most_authors: int | None = None
        self.copies = 1
        self.loses: float = 0.0
        self.chance = random.Random(0)
        self.asked: list[list[Any]] = []
        self.taken: list[dict[str, Any]] = []
        self.logins: list[dict[str, Any]] = []
        self._clients: list[_Client] = []
        self._server: Server | None = None
        self._port = 0

    async def start(self) -> str:
        self._server = await serve(self._talk, "127.0.0.1", self._port, max_size=None)
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"ws://127.0.0.1:{self._port}"
        return self.url

    async def stop(self) -> None:
        """Ends every connection; `start` opens the same address again."""
        server, self._server = self._server, None
        if server:
            server.close()
            await server.wait_closed()

    @property
    def clients(self) -> int:
        return len(self._clients)

    def open_names(self) -> list[str]:
        return [name for client in self._clients for name in client.subscriptions]

    async def repeat(self, count: int) -> None:
        """Sends what it took last once more, to whoever listens for it."""
        for event in self.taken[-count:]:
            await self._pass_on(event)

    async def close_all(self, words: str) -> None:
        """CLOSED for each subscription; the connections stay."""
        for client in list(self._clients):
            for name in list(client.subscriptions):
                del client.subscriptions[name]
                await self._send(client, "CLOSED", name, words)

    async def _talk(self, connection: ServerConnection) -> None:
        client = _Client(connection)
        self._clients.append(client)
        try:
            if self.wants_login:
                await self._send(client, "AUTH", "challenge")
            async for text in connection:
                await self._answer(client, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self._clients.remove(client)

    @staticmethod
    async def _send(client: _Client, *message: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            await client.connection.send(json.dumps(message))

    async def _answer(self, client: _Client, message: list[Any]) -> None:
        if self.is_mute:
            return
        if message[0] == "REQ":
            await self._subscribe(client, message[1], message[2:])
        elif message[0] == "CLOSE":
            client.subscriptions.pop(message[1], None)
        elif message[0] == "AUTH":
            self.logins.append(message[1])
            client.is_logged_in = True
            await self._send(client, "OK", message[1]["id"], True, "")
        elif message[0] == "EVENT":
            await self._take(client, message[1])

    def _why_not(self, client: _Client, name: str, filters: list[Any]) -> str | None:
        if self.refuses:
            return self.refuses
        if self.wants_login and not client.is_logged_in:
            return "auth-required: say who you are"
        others = len([n for n in client.subscriptions if n != name])
        if self.most_subscriptions is not None and others >= self.most_subscriptions:
            return "error: too many subscriptions"
        longest = max((len(f.get("authors", [])) for f in filters), default=0)
        if self.most_authors is not None and longest > self.most_authors:
            return "error: filter too long"
        return None

    async def _subscribe(
        self, client: _Client, name: str, filters: list[dict[str, Any]]
    ) -> None:
        self.asked.append(["REQ", name, *filters])
        why = self._why_not(client, name, filters)
        if why is None:
            client.subscriptions[name] = filters
            await self._send(client, "EOSE", name)
        elif self.refuses_by_notice:
            await self._send(client, "NOTICE", why)
        else:
            client.subscriptions.pop(name, None)
            await self._send(client, "CLOSED", name, why)

    async def _take(self, client: _Client, event: dict[str, Any]) -> None:
        self.taken.append(event)
        if self.says_ok is not None:
            await self._send(client, "OK", event["id"], self.says_ok, "as told")
        if self.says_ok is False or self.chance.random() < self.loses:
            return
        await self._pass_on(event)

    async def _pass_on(self, event: dict[str, Any]) -> None:
        for other in list(self._clients):
            for name, filters in list(other.subscriptions.items()):
                if any(_matches(wanted, event) for wanted in filters):
                    for _ in range(self.copies):
                        await self._send(other, "EVENT", name, event)
