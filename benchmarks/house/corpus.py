"""What the house models are trained on: Debian's documentation, package descriptions and dictionaries, as JSON lines.

    python benchmarks/house/corpus.py WORK_DIR

Fetches the packages of `packages.txt` with apt-get (Debian 12; other versions give other documents), unpacks what is
documentation in them, parses and splits it with the product's own formats and splitter, and writes WORK_DIR/corpus.jsonl:
a document a line, as `searchd/train/material.py` reads it. A seeded sample, so that no large manual outweighs the others.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from html import escape
from pathlib import Path, PurePath

from lxml import etree

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from indexer.embedder import plain_tokenizer
from indexer.errors import ParseFailure
from indexer.formats.table import parse
from indexer.splitter import Splitter
from indexer.types import Document, ParsedText
from indexer.weights import house_folder
from searchd.train.material import links_of_page
from searchd.train.types import Link

PACKAGES = Path(__file__).with_name("packages.txt")
SEED = 20261121
FILES_EACH, PASSAGES_EACH = 70, 90
"""Of a package: at most so many files, and so many passages."""
MORE = {"anarchism": 8, "libreoffice-help-en-us": 8, "gnome-user-docs": 6, "linux-doc-6.1": 2}
"""Packages that are collections themselves take so many times as much."""
SKIPPED = re.compile(
    r"perl|postgres|postgis|changelog|copyright|news|authors|genindex|py-modindex|search\.html|_sources|/cgi-bin|LICENSE"
    r"|/(de|fr|es|it|ja|ru|pt|pt_BR|zh_CN|zh|ko|nl|pl|cs|da|fi|sv|tr|uk|hu|el|ca|ro|sk|sl|nb|id|vi)/"
    r"|\.(de|fr|es|it|ja|ru|pt|pt-br|zh-cn|zh|ko|nl|pl|cs|da|fi|sv|tr|uk|nb)\.(html|txt)",
    re.IGNORECASE,
)
KINDS = (".html", ".htm", ".xhtml", ".md", ".rst", ".page", ".docbook")
PLAIN = re.compile(r"(readme|faq|howto|guide|manual|tutorial|intro|\.txt)", re.IGNORECASE)
PASSAGES_IN_ONE = 40
"""Of a document: a stretch of at most so many passages."""
DICTIONARIES = {
    "dict-gcide": 2500, "dict-wn": 4500, "dict-foldoc": 3000, "dict-jargon": 800, "dict-elements": 120, "dict-devil": 300
}  # fmt: skip
DESCRIPTIONS = 3500
EIGHTHS, ENTRY_EIGHTHS = 5, 3
"""Of what was sampled so: how many eighths are kept, of documents and of entries and descriptions. Chosen by id."""
UNPACKED = ("*/doc/*", "*/dictd/*", "*/help/*", "*/gtk-doc/*", "*/share/info/*", "*.html", "*.htm", "*.page")


def documents_of(package: Path) -> Iterator[dict[str, object]]:
    """Yield a sample of one package's documents, split."""
    rng = random.Random(f"{SEED}:{package.name}")
    files = [path for path in sorted(package.rglob("*")) if path.is_file() and wanted(path.relative_to(package))]
    rng.shuffle(files)
    times = MORE.get(package.name, 1)
    passages = 0
    for path in files[: FILES_EACH * times]:
        uri = f"{package.name}/{path.relative_to(package).as_posix()}"
        for parsed, links in read(path, uri):
            row = split(uri, parsed, links, package.name)
            if row is not None and is_english(parsed.text):
                passages += len(row["passages"])  # type: ignore[arg-type]
                yield row
        if passages >= PASSAGES_EACH * times:
            return


def wanted(path: PurePath) -> bool:
    """Say whether a file is documentation in English that the product can read."""
    name = path.name.lower().removesuffix(".gz")
    if SKIPPED.search(f"/{path.as_posix()}"):
        return False
    return name.endswith(KINDS) or (
        PLAIN.search(name) is not None and not name.endswith((".py", ".js", ".c", ".pdf", ".ps", ".png"))
    )


def read(path: Path, uri: str) -> list[tuple[ParsedText, Sequence[Link]]]:
    """Return what a file holds, parsed by the product; nothing of what it refuses."""
    try:
        content = path.read_bytes()[:600_000]
        if path.suffix == ".gz":
            content = gzip.decompress(content)[:600_000]
        name = path.name.removesuffix(".gz")
        if name.endswith((".page", ".docbook")):
            content, name = as_html(content), f"{name}.html"
        links = links_of_page(content.decode("utf-8", "replace"), uri) if name.endswith(("html", "htm")) else ()
        return [(parsed, links) for parsed in parse(name, content)]
    except (ParseFailure, OSError, EOFError, etree.XMLSyntaxError, ValueError):
        return []


XML_TAGS = {
    "title": "h2", "p": "p", "para": "p", "simpara": "p", "item": "li", "listitem": "li", "list": "ul", "steps": "ol",
    "itemizedlist": "ul", "orderedlist": "ol", "procedure": "ol", "step": "li", "screen": "pre", "code": "code",
    "programlisting": "pre", "section": "section", "sect1": "section", "sect2": "section", "chapter": "section",
}  # fmt: skip


def as_html(content: bytes) -> bytes:
    """Return mallard or docbook XML as HTML, element by element."""
    root = etree.fromstring(content, etree.XMLParser(recover=True, resolve_entities=False, no_network=True))
    if root is None:
        return b""

    def walk(node: etree._Element, depth: int) -> str:
        if not isinstance(node.tag, str):
            return escape(node.tail or "")
        tag = etree.QName(node).localname
        if tag in ("info", "index", "indexterm", "comment", "bookinfo"):
            return escape(node.tail or "")
        html = f"h{min(6, depth)}" if tag == "title" else XML_TAGS.get(tag, "span")
        inner = escape(node.text or "") + "".join(
            walk(child, depth + (tag in ("section", "sect1", "sect2"))) for child in node
        )
        return f"<{html}>{inner}</{html}>{escape(node.tail or '')}"

    return f"<html><body>{walk(root, 1)}</body></html>".encode()


_SPLITTER: list[Splitter] = []


def splitter() -> Splitter:
    """Return the product's splitter at its default sizes."""
    if not _SPLITTER:
        from transformers import AutoTokenizer

        tokenizer = plain_tokenizer(AutoTokenizer.from_pretrained(house_folder(), local_files_only=True))
        _SPLITTER.append(Splitter(tokenizer, 200, 24))
    return _SPLITTER[0]


def split(uri: str, parsed: ParsedText, links: Sequence[Link], source: str) -> dict[str, object] | None:
    """Return one line of the corpus, None for a document without text."""
    document = Document("house", uri, parsed.title, uri, parsed.text, parsed.blocks, {}, ("public",), 1, uri)
    passages = splitter().split("house", document)
    if not passages:
        return None
    start = random.Random(f"{SEED}:{uri}").randrange(max(1, len(passages) - PASSAGES_IN_ONE + 1))
    passages = passages[start : start + PASSAGES_IN_ONE]
    return {
        "document_id": uri,
        "title": parsed.title,
        "source": source,
        "passages": [{"text": p.text, "heading_path": list(p.heading_path)} for p in passages],
        "links": [asdict(link) for link in links],
    }


COMMON = frozenset("the of and to in is a for that this with be it are as you can by or on".split())


def is_english(text: str) -> bool:
    """Say whether enough of the words are English function words."""
    words = text[:6000].lower().split()
    return len(words) >= 20 and sum(word in COMMON for word in words) / len(words) > 0.12


def dictionary(package: Path, count: int) -> Iterator[dict[str, object]]:
    """Yield a sample of a dictd dictionary's entries, the headword as title."""
    entries = list(dictionary_entries(package))
    random.Random(f"{SEED}:{package.name}").shuffle(entries)
    for word, text in entries[: count * 2]:
        row = entry(package.name, word, text)
        if row is not None and count > 0:
            count -= 1
            yield row


def dictionary_entries(package: Path) -> Iterator[tuple[str, str]]:
    """Yield the headwords of a dictd dictionary, each with its entry."""
    for index in sorted(package.rglob("*.index")):
        data = gzip.decompress(index.with_suffix(".dict.dz").read_bytes())
        for line in index.read_text(encoding="utf-8", errors="replace").splitlines():
            word, at, size, *_ = line.split("\t")
            if not word.startswith("00"):
                start = base64_number(at)
                yield word, data[start : start + base64_number(size)].decode("utf-8", "replace")


def entry(source: str, word: str, text: str) -> dict[str, object] | None:
    """Return an entry as a document: markup of the dictionaries taken off."""
    body = text.split("\n", 1)[-1] if "\n" in text else text
    body = re.sub(r"\[[^\[\]]{0,40}\]|\\[^\\]{0,60}\\|[{}]", "", body)
    body = unicodedata.normalize("NFC", re.sub(r"[ \t]+", " ", re.sub(r"\n[ \t]+", "\n", body))).strip()
    if len(body) < 60 or len(word) < 3:
        return None
    parsed = ParsedText(title=word, text=body, blocks=())
    from indexer.formats.builder import TextBuilder

    builder = TextBuilder()
    builder.paragraph(body)
    return split(f"{source}/{word}", builder.build(word, parsed.title), [], source)


_DIGITS = {c: n for n, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}


def base64_number(text: str) -> int:
    """Return a number as dictd's index writes it."""
    value = 0
    for character in text:
        value = value * 64 + _DIGITS[character]
    return value


def descriptions(lists: Path, count: int) -> Iterator[dict[str, object]]:
    """Yield a sample of package descriptions: the synopsis as title, the long description as text."""
    helper = "/usr/lib/apt/apt-helper"
    dump = "".join(
        subprocess.run([helper, "cat-file", str(path)], capture_output=True, text=True, check=True).stdout
        for path in sorted(lists.glob("*debian_dists_*Translation-en*"))
    )
    found: dict[str, tuple[str, str]] = {}
    for record in dump.split("\n\n"):
        name = re.search(r"^Package: (.+)$", record, re.M)
        text = re.search(r"^Description(?:-en)?: (.+)\n((?: .*\n?)+)", record, re.M)
        if name and text and not re.search("perl|postgres|postgis", name[1]) and len(text[2]) > 200:
            lines = [line[1:] if line.strip() != "." else "" for line in text[2].splitlines()]
            found.setdefault(text[1], (name[1], "\n".join(lines)))
    rows = sorted(found.items())
    random.Random(SEED).shuffle(rows)
    for synopsis, (package, body) in rows[:count]:
        for parsed in readable(f"{package}.md", body.encode()):
            row = split(f"description/{package}", ParsedText(synopsis, parsed.text, parsed.blocks), [], "description")
            if row is not None:
                yield row


def readable(name: str, content: bytes) -> list[ParsedText]:
    """Return what the product reads in a file; nothing of what it refuses."""
    try:
        return parse(name, content)
    except ParseFailure:
        return []


def rows_of(package: Path) -> list[str]:
    """Return one package's lines."""
    found = dictionary(package, DICTIONARIES[package.name]) if package.name in DICTIONARIES else documents_of(package)
    return [json.dumps(row, ensure_ascii=False) for row in found]


def fetch(work: Path, names: Path, unpacked: Path, patterns: Sequence[str]) -> None:
    """Download the packages and the archive's descriptions, and unpack the documentation; what is there stays."""
    lists, debs = work / "lists", work / f"{unpacked.name}-debs"
    for folder in (lists / "partial", debs, unpacked):
        folder.mkdir(parents=True, exist_ok=True)
    packages = [line.split()[0] for line in names.read_text().splitlines() if line and not line.startswith("#")]
    private = ["-o", f"Dir::State::Lists={lists.absolute()}", "-o", "Acquire::Languages=en"]
    subprocess.run(["apt-get", *private, "update"], check=True)
    missing = [name for name in packages if not any(debs.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", *private, "download", *missing], cwd=debs, check=True)
    for deb in sorted(debs.glob("*.deb")):
        target = unpacked / deb.name.partition("_")[0]
        if not target.is_dir():
            target.mkdir()
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as archive:
                # tar fails where a pattern matches nothing, which is so of most patterns in most packages
                subprocess.run(["tar", "-x", "-C", target, "--wildcards", *patterns], stdin=archive.stdout, check=False)


def is_kept(line: str) -> bool:
    """Say whether a document is among the eighths that are kept."""
    row = json.loads(line)
    entry = row["source"].startswith("dict-") or row["source"] == "description"
    digest = hashlib.sha256(row["document_id"].encode()).digest()
    return int.from_bytes(digest[:4], "big") % 8 < (ENTRY_EIGHTHS if entry else EIGHTHS)


def main() -> None:
    """Fetch, then write the corpus from what is unpacked in WORK_DIR/x."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    fetch(arguments.work, PACKAGES, arguments.work / "x", UNPACKED)
    packages = [path for path in sorted((arguments.work / "x").iterdir()) if path.is_dir()]
    with ProcessPoolExecutor(2) as pool, (arguments.work / "corpus.jsonl").open("w", encoding="utf-8") as out:
        for package, lines in zip(packages, pool.map(rows_of, packages), strict=True):
            print(f"{package.name}: {len(lines)} documents", flush=True)
            out.writelines(f"{line}\n" for line in lines if is_kept(line))
        for row in descriptions(arguments.work / "lists", DESCRIPTIONS):
            line = json.dumps(row, ensure_ascii=False)
            if is_kept(line):
                out.write(f"{line}\n")


if __name__ == "__main__":
    main()
