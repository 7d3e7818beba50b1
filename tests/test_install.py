"""The release of `make dist` installs in a stock LNbits, the way people install it.

A real server without the extension, a manifest and a zip served on loopback,
LNbits' own extension API: install, enable, use, restart, uninstall, install again
over the data of the first time. Twice: in LNbits' default layout, where extensions
live inside its package (as a copy, so that nobody's virtual environment changes),
and with LNBITS_EXTENSIONS_PATH.
"""

from __future__ import annotations

import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import environment
from conftest import wait_for
from dev import dist
from dev.accounts import UserSession, answer, first_install
from dev.installation import EXTENSION_ID, installed_lnbits
from dev.server import Server, start

pytestmark = pytest.mark.server


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: pytest's output is for results."""


@pytest.fixture
def release(tmp_path: Path) -> Iterator[str]:
    """URL of the folder that `make dist` filled, served on loopback."""
    folder = tmp_path / "release"
    folder.mkdir()
    handler = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        dist.build(folder, url)
        yield url
        server.shutdown()


async def _install(admin: UserSession, manifest: str, url: str) -> None:
    version = dist.version()
    answer(
        await admin.core.post(
            "/api/v1/extension",
            json={
                "ext_id": EXTENSION_ID,
                "archive": f"{url}/{EXTENSION_ID}-{version}.zip",
                "source_repo": manifest,
                "version": version,
            },
            # every migration runs, on a machine that is busy with other tests
            timeout=300,
        )
    )
    answer(await admin.core.put(f"/api/v1/extension/{EXTENSION_ID}/enable"))


async def _works(server: Server, admin: UserSession) -> None:
    """Page, screens' files, tile and API, with nothing but what the zip brought."""
    page = await admin.core.get(f"/{EXTENSION_ID}/")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    for path in ("routes.json", f"image/{EXTENSION_ID}.png"):
        file = await admin.core.get(f"/{EXTENSION_ID}/static/{path}")
        assert file.status_code == 200, path
    guide = await admin.core.get(f"/{EXTENSION_ID}/docs/operator.md")
    assert guide.status_code == 200 and guide.text.startswith("# Operator")
    me = answer(await admin.api.get("/me"))
    assert me["user_id"] == admin.user_id
    assert me["super"] is True
    # The engine and the listeners run too, not only the routes.
    health = await admin.api.get("/health")
    assert health.status_code == 200, server.log_tail()


# Where LNbits keeps extensions and what database it has do not touch each other.
LAYOUT = "inside lnbits" if environment.DATABASE == "sqlite" else "extensions path"


@pytest.mark.parametrize("layout", [LAYOUT])
async def test_release_installs_through_the_extension_api(
    layout: str, release: str, tmp_path: Path
) -> None:
    manifest = f"{release}/manifest.json"
    folder = tmp_path / "lnbits"
    env = {
        "LNBITS_EXTENSIONS_MANIFESTS": json.dumps([manifest]),
        "LNBITS_EXTENSIONS_BUILDER_MANIFEST_URL": f"{release}/none.json",
    }
    if layout == "inside lnbits":
        shutil.copytree(installed_lnbits(), folder / "lnbits")
        env["LNBITS_EXTENSIONS_PATH"] = "lnbits"
    server = start(
        folder,
        database_url=environment.new_database(),
        with_extension=False,
        env=env,
    )
    try:
        await server.ready()
        admin = await first_install(server.url)
        assert (await admin.api.get("/me")).status_code == 404
        details = await admin.core.get(
            f"/api/v1/extension/{EXTENSION_ID}/details",
            params={"details_link": f"{release}/config-{dist.version()}.json"},
        )
        shown = answer(details)
        assert "exactly once" in shown["description_md"]
        for url in [shown["icon"], *(image["uri"] for image in shown["images"])]:
            assert (await admin.core.get(url)).status_code == 200, url

        await _install(admin, manifest, release)
        await _works(server, admin)
        answer(
            await admin.api.put(
                "/super/config", json={"super_cash_out_fee_fraction": "0.0300"}
            )
        )

        # It is there after a restart, with nothing to fetch it from.
        await server.stop()
        server = await server.again().ready()
        await _works(server, admin)

        # Uninstalling forgets the migrations' version and keeps the data: m001
        # meets a current database again, and not a row may be lost.
        answer(await admin.core.delete(f"/api/v1/extension/{EXTENSION_ID}"))
        await _install(admin, manifest, release)
        await _works(server, admin)
        config = answer(await admin.api.get("/super/config"))
        assert config["super_cash_out_fee_fraction"] == "0.0300"
        await _everything_is_deleted(server, admin)
        await admin.aclose()
    finally:
        await server.stop()


async def _everything_is_deleted(server: Server, admin: UserSession) -> None:
    """By the super, while it runs: LNbits' database as it came, ours as new, and the
    same process goes on with a machine on the same wallet."""
    wallet = answer(await admin.core.post("/api/v1/wallet", json={"name": "till"}))
    machine = {
        "machine_npub": "a1" * 32,
        "wallet_id": wallet["id"],
        "name": "Plaza",
        "fiat_code": "GTQ",
    }
    answer(await admin.api.post("/machines", json=machine))
    answer(await admin.api.post("/super/host"))
    key = answer(await admin.api.get("/me"))["service_npub"]
    body = {"confirmation": "DELETE EVERYTHING", "reason": "sold"}
    refused = await admin.api.post("/super/everything/delete", json=body)
    assert refused.status_code == 409 and "Download" in refused.json()["detail"]
    assert (await admin.api.get("/super/everything.zip")).status_code == 200
    answer(await admin.api.post("/super/everything/delete", json=body))

    assert answer(await admin.api.get("/super/host"))["applied"] is False
    config = answer(await admin.api.get("/super/config"))
    assert config["super_cash_out_fee_fraction"] == "0.0000"
    assert answer(await admin.api.get("/machines"))["total"] == 0
    log = answer(await admin.api.get("/audit", params={"scope": "all"}))
    assert [row["action"] for row in log["data"]] == ["extension.erase"]

    async def is_engine() -> bool:
        health = answer(await admin.api.get("/health"))
        return bool(health["engine"]["is_this_process"])

    await wait_for(is_engine, 60, interval_seconds=0.5)
    assert answer(await admin.api.get("/me"))["service_npub"] != key
    answer(await admin.api.post("/machines", json=machine))
    await _works(server, admin)


def test_release_holds_what_runs_and_nothing_else(tmp_path: Path) -> None:
    dist.build(tmp_path, "https://example.org/satmachine")
    version = dist.read_config()["version"]
    with zipfile.ZipFile(tmp_path / f"{EXTENSION_ID}-{version}.zip") as archive:
        names = archive.namelist()
    # LNbits takes the first folder of the zip for the package.
    assert {name.split("/")[0] for name in names} == {f"{EXTENSION_ID}-{version}"}
    inside = {name.partition("/")[2] for name in names}
    assert {"__init__.py", "config.json", "LICENSE", "static/routes.json"} <= inside
    unwanted = ("tests/", "dev/", "bench/", ".ci/", ".git", ".venv")
    assert not [name for name in inside if name.startswith(unwanted)]
    # The guides are served where there is no internet; ours stay with the sources.
    assert {"docs/README.md", "docs/es/lp.md"} <= inside
    assert "docs/architecture.md" not in inside

    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (entry,) = manifest["extensions"]
    assert entry["version"] == version
    assert entry["archive"].startswith("https://example.org/satmachine/")
    assert entry["min_lnbits_version"] == dist.read_config()["min_lnbits_version"]


def test_same_sources_give_the_same_release(tmp_path: Path) -> None:
    first = dist.build_zip(tmp_path / "one.zip")
    assert first == dist.build_zip(tmp_path / "two.zip")
