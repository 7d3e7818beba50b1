"""`make dist`: the release that LNbits installs, in dist/.

    python -m dev.dist [URL]

writes satmachineadmin-VERSION.zip, manifest.json, and what LNbits shows of a release
before it is installed: config.json, description.md and icon.png. URL is the address
of the folder that they will be served from; the manifest carries it, and the zip's
SHA-256, which LNbits checks before it installs.

The zip has the flat layout that LNbits expects, one folder with the package at its
root, and only what runs: no tests, no tools. The same commit gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

from .installation import EXTENSION_ID, ROOT, package_sources

DIST = ROOT / "dist"
TOP_LEVEL = ("config.json", "manifest.json", "description.md")
DOCUMENTS = ("README.md", "LICENSE")
FOLDERS = ("static", "templates")
# The oldest time a zip can hold: file times are no part of a release.
STAMP = (1980, 1, 1, 0, 0, 0)


def runtime_files(root: Path = ROOT) -> list[Path]:
    """What goes into the release, sorted, relative to the repository's root."""
    found = [path for pattern in TOP_LEVEL + DOCUMENTS for path in root.glob(pattern)]
    found += package_sources(root)
    for folder in FOLDERS:
        found += [path for path in (root / folder).rglob("*") if path.is_file()]

    return sorted(
        path.relative_to(root) for path in found if not path.name.startswith(".")
    )


def read_config(root: Path = ROOT) -> dict[str, Any]:
    return json.loads((root / "config.json").read_text(encoding="utf-8"))


def build_zip(target: Path, root: Path = ROOT) -> str:
    """Writes the zip to `target` and returns its SHA-256 as LNbits wants it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in runtime_files(root):
            entry = zipfile.ZipInfo(f"{EXTENSION_ID}/{path.as_posix()}", STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (root / path).read_bytes())
    return hashlib.sha256(target.read_bytes()).hexdigest()


def build(folder: Path = DIST, url: str = "") -> Path:
    """Writes the whole release to `folder` and returns the manifest's path.

    Raises ValueError when config.json and manifest.json name different versions.
    """
    config = read_config()
    manifest = json.loads((ROOT / "manifest.json").read_text(encoding="utf-8"))
    (release,) = manifest["extensions"]
    if release["version"] != config["version"]:
        raise ValueError(
            f"config.json says version {config['version']}, manifest.json "
            f"{release['version']}: set both to the version you release"
        )
    archive = f"{EXTENSION_ID}-{config['version']}.zip"
    prefix = url.rstrip("/") + "/" if url else ""
    release["hash"] = build_zip(folder / archive)
    release["archive"] = prefix + archive
    release["icon"] = prefix + "icon.png"
    release["details_link"] = prefix + "config.json"
    tile = ROOT / "static" / "image" / f"{EXTENSION_ID}.png"
    (folder / "icon.png").write_bytes(tile.read_bytes())
    (folder / "description.md").write_bytes((ROOT / "description.md").read_bytes())
    config |= {"description_md": prefix + "description.md", "tile": release["icon"]}
    _write_json(folder / "config.json", config)
    return _write_json(folder / "manifest.json", manifest)


def _write_json(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else ""
    manifest = build(url=url)
    for path in sorted(manifest.parent.iterdir()):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size} bytes")
    if not url:
        print("To serve it: make dist URL=https://where.it/will/be")


if __name__ == "__main__":
    main()
