"""What `make dist` makes passes the rules of LNbits' registry, and the archive that a
forge makes of a tag holds the same files.

The rules are those that `lnbits/lnbits-extensions` checks before it takes an entry, and
what LNbits' own page of details needs. Over the files themselves: nothing is served.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from dev import dist
from dev.installation import EXTENSION_ID, ROOT

pytestmark = pytest.mark.pure

MUST_BE_IN = ("LICENSE", "README.md", "__init__.py", "config.json", "manifest.json")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def entry_of(folder: Path) -> dict[str, Any]:
    return read(folder / "manifest.json")["extensions"][0]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    dist.build(folder)
    return folder


def file_of(folder: Path, url: str) -> Path:
    """The file of the release that an address names."""
    return folder / urlparse(url).path.rpartition("/")[2]


# ------------------------------------------------------------------- the registry's


def test_the_entry_says_what_the_registry_reads(release: Path) -> None:
    entry = entry_of(release)
    assert entry["id"] == entry["id"].lower() == EXTENSION_ID
    assert entry["name"][0].isupper()
    text = entry["short_description"]
    assert text[0].isupper() and not text.endswith(".") and len(text) < 60
    for field in ("repo", "html_url", "icon", "archive", "details_link"):
        assert urlparse(entry[field]).scheme == "https", field
    assert entry["archive"].startswith(entry["repo"])
    assert entry["archive"].endswith(f"{entry['version']}.zip")
    assert entry["tags"]


def test_the_archive_is_the_one_that_the_entry_names(release: Path) -> None:
    entry = entry_of(release)
    archive = file_of(release, entry["archive"])
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == entry["hash"]
    folder = f"{entry['repo'].rpartition('/')[2]}-{entry['version']}"
    with zipfile.ZipFile(archive) as zipped:
        assert zipped.testzip() is None
        names = zipped.namelist()
        config = json.loads(zipped.read(f"{folder}/config.json"))
    assert {name.split("/")[0] for name in names} == {folder}
    assert {f"{folder}/{name}" for name in MUST_BE_IN} <= set(names)
    for field in ("min_lnbits_version", "max_lnbits_version", "version", "name"):
        assert config.get(field) == entry.get(field), field
    assert config["short_description"] == entry["short_description"]
    assert archive.stat().st_size < 2_000_000


def test_the_icon_is_a_picture(release: Path) -> None:
    head = file_of(release, entry_of(release)["icon"]).read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:])
    assert width == height >= 64


# --------------------------------------------------------------- LNbits' own details


@pytest.mark.parametrize("where", ["the release", "the sources"])
def test_details_name_only_addresses_that_lnbits_can_fetch(
    release: Path, where: str
) -> None:
    if where == "the release":
        config = read(file_of(release, entry_of(release)["details_link"]))
    else:
        config = read(ROOT / "config.json")
    pictures = [image["uri"] for image in config["images"]]
    assert pictures
    for url in [config["description_md"], *pictures]:
        assert urlparse(url).scheme == "https", url
        if where == "the release":
            assert file_of(release, url).is_file(), url
        else:
            path = urlparse(url).path.split("/main/")[1]
            assert (ROOT / path).is_file(), url
    for person in config["contributors"]:
        assert person["name"] and urlparse(person["uri"]).scheme == "https"
    assert config["tags"] and config["license"] == "MIT"


# -------------------------------------------------------------------------- versions


def test_one_version_everywhere() -> None:
    assert len(set(dist.versions().values())) == 1, dist.versions()
    # The newest heading of the changelog is this version, or what comes after it.
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^## \[(.+?)\]", changes)[0] in (
        "Unreleased",
        dist.version(),
    )


@pytest.mark.parametrize("name", ["config.json", "manifest.json", "pyproject.toml"])
def test_a_version_that_stayed_behind_is_seen(tmp_path: Path, name: str) -> None:
    for file in ("config.json", "manifest.json", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path / file)
    text = (tmp_path / name).read_text(encoding="utf-8")
    (tmp_path / name).write_text(text.replace(dist.version(), "9.9.9"))
    with pytest.raises(ValueError, match=re.escape(f"{name} 9.9.9")):
        dist.version(tmp_path)


def test_older_releases_stay_in_the_manifest(tmp_path: Path) -> None:
    older = {**entry_of(dist.build(tmp_path).parent), "version": "0.0.9"}
    (tmp_path / "manifest.json").write_text(json.dumps({"extensions": [older]}))
    for _ in range(2):  # a release made twice is in it once
        dist.build(tmp_path)
        found = read(tmp_path / "manifest.json")
        assert [one["version"] for one in found["extensions"]] == [
            dist.version(),
            "0.0.9",
        ]
        assert found["extensions"][1] == older
    # Two releases in one folder share no file but the manifest.
    shared = {
        path.name for path in tmp_path.iterdir() if dist.version() not in path.name
    }
    assert shared == {"manifest.json"}


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no address"):
        dist.build(tmp_path, url="where/it/is")


# ------------------------------------------------------------------ the tag's archive


def test_the_forge_archive_holds_the_same_files() -> None:
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        [git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    # An attribute of a folder counts for what is in it, but is not told of it.
    paths = {
        str(above)
        for path in listed.decode().split("\0")
        if path
        for above in [Path(path), *Path(path).parents][:-1]
    }
    told = subprocess.run(
        [git, "check-attr", "-z", "--stdin", "export-ignore"],
        cwd=ROOT,
        input="\0".join(sorted(paths)).encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    words = told.split("\0")
    left_out = {
        p
        for p, _, value in zip(words[::3], words[1::3], words[2::3], strict=False)
        if value == "set"
    }
    exported = {
        path
        for path in listed.decode().split("\0")
        if path
        and not left_out & {str(p) for p in [Path(path), *Path(path).parents][:-1]}
    }
    tracked = set(listed.decode().split("\0"))
    runs = {path.as_posix() for path in dist.runtime_files()}
    assert exported - runs == set()
    assert (runs & tracked) - exported == set()


# ------------------------------------------------------------------------- workflows


def test_workflows_pin_their_actions_and_use_the_makefile() -> None:
    assert {path.stem for path in WORKFLOWS} >= {"check", "release"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z]+):", makefile))
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        used = re.findall(r"(?m)uses: (\S+)", text)
        assert used and all(re.search(r"@[0-9a-f]{40}$", one) for one in used), used
        made = re.findall(r"run: make (\w+)", text)
        assert made and set(made) <= targets, path.name
        assert "permissions:" in text
