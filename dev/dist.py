"""`make dist`: the release that LNbits installs, in dist/.

    python -m dev.dist [--url URL] [--repo REPO] [--tag vX.Y.Z]

writes satmachineadmin-VERSION.zip, manifest.json, and what LNbits shows of a release
before it is installed: its config, description, icon and pictures, each with the
version in its name. URL is the address of the folder that they will be served from, by
default the repository's own release of that version; every address in the manifest and
the config begins with it, because LNbits' page of details fails on a relative one. The
manifest carries the zip's SHA-256, which LNbits checks before it installs.

A manifest.json that lies in dist/ already keeps its other releases: people who run an
older LNbits still find theirs.

The zip has the layout that LNbits' registry asks for, one folder named like the
repository and the version, and only what runs: no tests, no tools. The archive that a
forge makes of a tag holds the same files (`.gitattributes`). The same commit gives the
same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from .installation import EXTENSION_ID, ROOT, package_sources

DIST = ROOT / "dist"
TOP_LEVEL = ("config.json", "manifest.json", "description.md")
DOCUMENTS = ("README.md", "LICENSE")
FOLDERS = ("static", "templates")
_PAGE = re.compile(r"\]\(((?:es/)?[\w-]+\.md)")
_PICTURE = re.compile(r"!\[[^]]*\]\((?:\.\./)?(screenshots/[\w-]+\.png)\)")
PICTURES = ("overview.png", "settlement.png", "dca-phone.png")
# The oldest time a zip can hold: file times are no part of a release.
STAMP = (1980, 1, 1, 0, 0, 0)


def runtime_files(root: Path = ROOT) -> list[Path]:
    """What goes into the release, sorted, relative to the repository's root."""
    found = [path for pattern in TOP_LEVEL + DOCUMENTS for path in root.glob(pattern)]
    found += package_sources(root)
    for folder in FOLDERS:
        found += [path for path in (root / folder).rglob("*") if path.is_file()]
    found += guides(root)
    return sorted(
        path.relative_to(root) for path in found if not path.name.startswith(".")
    )


def guides(root: Path = ROOT) -> list[Path]:
    """The pages that the extension serves, which are those that the index leads to,
    and the pictures that they show. Other pages are for who works on the sources."""
    docs = root / "docs"
    index = docs / "README.md"
    names = sorted(set(_PAGE.findall(index.read_text("utf-8"))))
    pages = [index, *(docs / name for name in names)]
    shown = {
        name for page in pages for name in _PICTURE.findall(page.read_text("utf-8"))
    }
    return [*pages, *(docs / name for name in sorted(shown))]


def read_config(root: Path = ROOT) -> dict[str, Any]:
    return json.loads((root / "config.json").read_text(encoding="utf-8"))


def _read_release(root: Path = ROOT) -> dict[str, Any]:
    """What manifest.json in the sources says of the one release that they are."""
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    (release,) = manifest["extensions"]
    return release


def versions(root: Path = ROOT) -> dict[str, str]:
    """The version by the file that names it."""
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    (of_project,) = re.findall(r'(?m)^version = "(.+)"$', project)
    return {
        "config.json": read_config(root)["version"],
        "manifest.json": _read_release(root)["version"],
        "pyproject.toml": of_project,
    }


def version(root: Path = ROOT) -> str:
    """Raises ValueError when the files name different versions."""
    found = versions(root)
    if len(set(found.values())) > 1:
        said = ", ".join(f"{name} {number}" for name, number in found.items())
        raise ValueError(f"One version in all of them, please: {said}.")
    return found["config.json"]


def build_zip(target: Path, root: Path = ROOT) -> str:
    """Writes the zip to `target` and returns its SHA-256 as LNbits wants it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = f"{EXTENSION_ID}-{read_config(root)['version']}"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in runtime_files(root):
            entry = zipfile.ZipInfo(f"{folder}/{path.as_posix()}", STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (root / path).read_bytes())
    return hashlib.sha256(target.read_bytes()).hexdigest()


def build(folder: Path = DIST, url: str = "", repo: str = "") -> Path:
    """Writes the whole release to `folder` and returns the manifest's path.

    Raises ValueError when the sources name different versions, or `url` is no address.
    """
    number = version()
    release = _read_release()
    repo = (repo or release["repo"]).rstrip("/")
    prefix = (url or f"{repo}/releases/download/v{number}").rstrip("/")
    if not prefix.startswith(("https://", "http://")):
        raise ValueError(f"URL={prefix} is no address: it begins with https://.")

    def put(name: str, content: bytes) -> str:
        """Writes a file with the version in its name; returns its address."""
        stem, _, kind = name.rpartition(".")
        named = f"{stem}-{number}.{kind}"
        (folder / named).write_bytes(content)
        return f"{prefix}/{named}"

    archive = f"{EXTENSION_ID}-{number}.zip"
    digest = build_zip(folder / archive)
    tile = ROOT / "static" / "image" / f"{EXTENSION_ID}.png"
    icon = put("icon.png", tile.read_bytes())
    pictures = ROOT / "docs" / "screenshots"
    config = read_config() | {
        "description_md": put("description.md", (ROOT / "description.md").read_bytes()),
        "tile": icon,
        "images": [
            {"uri": put(name, (pictures / name).read_bytes())} for name in PICTURES
        ],
    }
    release |= {
        "repo": repo,
        "html_url": repo,
        "archive": f"{prefix}/{archive}",
        "hash": digest,
        "icon": icon,
        "details_link": put("config.json", _json(config)),
    }
    return _add(folder / "manifest.json", release)


def _add(path: Path, release: dict[str, Any]) -> Path:
    """Puts the release first in the manifest; the others stay."""
    source = json.loads((ROOT / "manifest.json").read_text(encoding="utf-8"))
    older = []
    if path.exists():
        older = json.loads(path.read_text(encoding="utf-8"))["extensions"]
    others = [one for one in older if one["version"] != release["version"]]
    path.write_bytes(_json(source | {"extensions": [release, *others]}))
    return path


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="", help="where dist/ will be served")
    parser.add_argument("--repo", default="", help="the repository's address")
    parser.add_argument("--tag", default="", help="refuse unless it is this version's")
    asked = parser.parse_args()
    try:
        if asked.tag and asked.tag != f"v{version()}":
            raise ValueError(f"The tag {asked.tag} is not v{version()}: mend one.")
        manifest = build(url=asked.url, repo=asked.repo)
    except ValueError as refused:
        raise SystemExit(str(refused)) from None
    for path in sorted(manifest.parent.iterdir()):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size} bytes")
    newest, *_ = json.loads(manifest.read_text(encoding="utf-8"))["extensions"]
    print(f"To be served at {newest['archive'].rpartition('/')[0]}/")


if __name__ == "__main__":
    main()
