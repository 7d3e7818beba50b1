"""People of an LNbits server, made over its HTTP API: logins, wallets, credit.

Works with any ``httpx.AsyncClient`` whose base URL is an LNbits server, so the
same code serves `make run`, the tests with real server processes, and the
benches. Every function raises ``httpx.HTTPStatusError`` when LNbits refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from .installation import EXTENSION_ID

API_PREFIX = f"/{EXTENSION_ID}/api/v1"
PASSWORD = "satoshi-machine"  # noqa: S105 (of a server on this machine only)


@dataclass
class WalletKeys:
    """An LNbits wallet with its keys. `adminkey` spends, `inkey` receives.

    `lightning_address` is only the part before the @.
    """

    id: str
    adminkey: str
    inkey: str
    name: str = ""
    lightning_address: str = ""


@dataclass
class UserSession:
    """Somebody who is logged in.

    `core` speaks to LNbits, `api` to this extension: paths given to `api` are
    relative to ``/satmachineadmin/api/v1``.
    """

    user_id: str
    username: str
    token: str
    core: httpx.AsyncClient
    api: httpx.AsyncClient
    wallets: list[WalletKeys] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def wallet(self) -> WalletKeys:
        """The wallet that came with the account."""
        return self.wallets[0]

    async def aclose(self) -> None:
        await self.core.aclose()
        await self.api.aclose()


def open_session(
    user_id: str,
    username: str,
    token: str,
    base_url: str,
    transport: httpx.AsyncBaseTransport | None = None,
    timeout_seconds: float = 30,
) -> UserSession:
    """A session over clients of its own, which carry the bearer token."""

    def client(prefix: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=base_url + prefix,
            transport=transport,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_seconds,
        )

    return UserSession(user_id, username, token, client(""), client(API_PREFIX))


def answer(response: httpx.Response) -> Any:
    """The response's JSON. The error of a refusal carries LNbits' own words."""
    if response.is_error:
        request = response.request
        raise httpx.HTTPStatusError(
            f"{request.method} {request.url.path}: {response.status_code} "
            f"{response.text[:500]}",
            request=request,
            response=response,
        )
    return response.json() if response.content else None


def _keys(row: dict[str, Any]) -> WalletKeys:
    return WalletKeys(
        id=row["id"],
        adminkey=row["adminkey"],
        inkey=row["inkey"],
        name=row["name"],
        lightning_address=row.get("lightning_address") or "",
    )


async def _session(base_url: str, token: str) -> UserSession:
    session = open_session("", "", token, base_url)
    user = answer(await session.core.get("/api/v1/auth"))
    session.user_id = user["id"]
    session.username = user["username"] or ""
    await refresh_wallets(session)
    return session


async def refresh_wallets(session: UserSession) -> None:
    rows = answer(await session.core.get("/api/v1/wallets"))
    session.wallets = [_keys(row) for row in rows]


async def first_install(
    base_url: str, username: str = "super", password: str = PASSWORD
) -> UserSession:
    """Gives the super user of a fresh LNbits a name and a password."""
    async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:
        response = await client.put(
            "/api/v1/auth/first_install",
            json={
                "username": username,
                "password": password,
                "password_repeat": password,
            },
        )
    return await _session(base_url, answer(response)["access_token"])


async def log_in(
    base_url: str, username: str, password: str = PASSWORD
) -> UserSession | None:
    """The session of an account, or None when there is no such login."""
    async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:
        response = await client.post(
            "/api/v1/auth", json={"username": username, "password": password}
        )
    # Before the first install every address redirects to its page.
    if response.status_code in (401, 403, 307):
        return None
    return await _session(base_url, answer(response)["access_token"])


async def create_user(
    admin: UserSession, username: str, password: str = PASSWORD
) -> UserSession:
    """A new account, logged in, with one wallet and the extension enabled."""
    base_url = str(admin.core.base_url)
    answer(
        await admin.core.post(
            "/users/api/v1/user",
            json={
                "username": username,
                "password": password,
                "password_repeat": password,
                "extensions": [],
            },
        )
    )
    session = await log_in(base_url.rstrip("/"), username, password)
    if session is None:
        raise RuntimeError(f"the new account {username} cannot log in")
    await enable_extension(session)
    return session


async def enable_extension(session: UserSession) -> None:
    answer(await session.core.put(f"/api/v1/extension/{EXTENSION_ID}/enable"))


async def create_wallet(session: UserSession, name: str) -> WalletKeys:
    wallet = _keys(
        answer(await session.core.post("/api/v1/wallet", json={"name": name}))
    )
    session.wallets.append(wallet)
    return wallet


async def credit(admin: UserSession, wallet_id: str, amount_sats: int) -> None:
    """Mints sats into a wallet, as the super user of a demo server can."""
    answer(
        await admin.core.put(
            "/users/api/v1/balance", json={"id": wallet_id, "amount": amount_sats}
        )
    )


async def balance_sats(client: httpx.AsyncClient, key: str) -> int:
    """A wallet's balance in whole sats, asked with one of its keys."""
    row = answer(await client.get("/api/v1/wallet", headers={"X-Api-Key": key}))
    return int(row["balance"]) // 1000


async def enrol(
    operator: UserSession, lp: UserSession, machine_id: str
) -> dict[str, Any]:
    """An invitation by name and the LP's yes; the client as its operator sees it."""
    invited = answer(
        await operator.api.post(
            "/clients", json={"machine_id": machine_id, "username": lp.username}
        )
    )
    answer(await lp.api.post(f"/lp/enrolments/{invited['id']}/accept"))
    return answer(await operator.api.get(f"/clients/{invited['id']}"))
