"""The folder that an LNbits process runs in, and its environment.

LNbits serves its static files and templates relative to the working directory,
finds extensions by folder name, and reads its settings from the environment when
it is first imported. So a run folder holds

    lnbits -> the installed package
    extensions/satmachineadmin -> this checkout, whatever its folder is called
    data/     LNbits' data folder

Nothing here reaches the network: rates come from nowhere, extensions from disk.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTENSION_ID = "satmachineadmin"
# The package's folders; everything else beside them is about it, and not in it.
PACKAGES = (
    "api",
    "base",
    "books",
    "cash",
    "desk",
    "host",
    "ledger",
    "line",
    "money",
    "parties",
)


def package_sources(root: Path = ROOT) -> list[Path]:
    """Every Python file of the extension itself, sorted."""
    found = list(root.glob("*.py"))
    for folder in PACKAGES:
        found += (root / folder).rglob("*.py")
    return sorted(found)


def _link(link: Path, target: Path) -> None:
    """Points `link` at `target`; a real folder of that name is left as it is."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir() and not link.is_symlink():
        return
    if link.is_symlink():
        if link.resolve() == target.resolve():
            return
        link.unlink()
    link.symlink_to(target, target_is_directory=True)


def installed_lnbits() -> Path:
    """Folder of the installed ``lnbits`` package, found without importing it."""
    spec = importlib.util.find_spec("lnbits")
    if spec is None or spec.origin is None:
        raise RuntimeError("lnbits is not installed: run 'make setup' first")
    return Path(spec.origin).parent


def lay_out(folder: Path, *, with_extension: bool = True) -> Path:
    """Makes `folder` a run folder, keeping the data it may hold already.

    Without the extension, LNbits starts as a stock installation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "extensions").mkdir(exist_ok=True)
    _link(folder / "lnbits", installed_lnbits())
    if with_extension:
        _link(folder / "extensions" / EXTENSION_ID, ROOT)
    return folder


def environment(folder: Path, database_url: str | None = None) -> dict[str, str]:
    """LNbits' settings for a run folder. SQLite unless a `database_url` is given.

    LNbits keeps most of these in its database after the first boot: changing one
    later takes a fresh folder, or its settings API.
    """
    settings = {
        "LNBITS_DATA_FOLDER": str(folder / "data"),
        "LNBITS_EXTENSIONS_PATH": str(folder),
        "LNBITS_ADMIN_UI": "true",
        "LNBITS_BACKEND_WALLET_CLASS": "FakeWallet",
        "LNBITS_SITE_TITLE": "Satoshi Machine",
        "LNBITS_SITE_TAGLINE": "Bitcoin ATM back office",
        # Without https LNbits would not hand out its login cookie.
        "AUTH_HTTPS_ONLY": "false",
        "LNBITS_RATE_LIMIT_NO": "1000000",
        "LNBITS_PRICE_AGGREGATOR_ENABLED": "false",
        "LNBITS_EXCHANGE_RATE_PROVIDERS": "[]",
        "LNBITS_EXTENSIONS_MANIFESTS": "[]",
        "LNBITS_WASM_EXTENSIONS_MANIFESTS": "[]",
        # Loopback LNURL servers stand for the outside world.
        "LNBITS_LNURL_ALLOW_PRIVATE_IPS": "true",
        "LNBITS_CALLBACK_ALLOW_PRIVATE_IPS": "true",
        # Nothing runs through a proxy of the user's.
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
    }
    if database_url:
        settings["LNBITS_DATABASE_URL"] = database_url
    return settings
