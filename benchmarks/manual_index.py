"""A judged set from the index at the back of a DocBook manual: each entry is a query, the pages it names are its answers.

    python benchmarks/manual_index.py HTML_FOLDER OUT_FOLDER [--queries 260] [--seed 5]
    searchd eval OUT_FOLDER

HTML_FOLDER holds a manual in pages with its `bookindex.html` (Debian: apt-get download postgresql-doc-15; dpkg -x), OUT_FOLDER
gets it in the BEIR layout. People wrote these entries for people who look something up; no model, depth or blend was fitted
to them. Entries of one word are left out, and those that name more than five pages. Pages are read by the product's own
parser.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lxml import etree, html

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from indexer.errors import ParseFailure
from indexer.formats.table import parse

INDEX = "bookindex.html"
MOST_PAGES = 5


def entries(page: Path) -> dict[str, set[str]]:
    """Return the pages that each entry of an index names, by its words; an entry below another has the other's before it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for division in html.fromstring(page.read_bytes()).xpath('//div[@class="indexdiv"]/dl'):
        for words, name in named(division, ""):
            found[words].add(name)
    return dict(found)


def named(listed: etree._Element, before: str) -> Iterator[tuple[str, str]]:
    """Yield (entry, page) of a definition list; `before` is the entry that it stands below."""
    words = before
    for part in listed:
        if part.tag == "dt":
            words = f"{before} {own_words(part)}".strip()
            for link in part.xpath('a[@class="indexterm"]/@href'):
                yield words, str(link).partition("#")[0]
        elif part.tag == "dd":
            for below in part.xpath("dl"):
                yield from named(below, words)


def own_words(term: etree._Element) -> str:
    """Return an entry's words, without the titles of the sections that it names."""
    pieces = [term.text or ""]
    for child in term:
        if child.get("class") == "indexterm":
            break
        pieces += ["".join(child.itertext()), child.tail or ""]
    return " ".join("".join(pieces).replace(",", " ").split())


def write(folder: Path, out: Path, queries: int, seed: int) -> tuple[int, int]:
    """Write the judged set; return how many pages and queries it has. Raises: SystemExit if there is no index."""
    if not (folder / INDEX).is_file():
        raise SystemExit(f"{folder} has no {INDEX}: a DocBook manual in pages is wanted")
    pages: list[dict[str, str]] = []
    for path in sorted(folder.glob("*.html")):
        if path.name == INDEX:
            continue
        try:
            parsed = parse(path.name, path.read_bytes())[0]
        except ParseFailure:  # a page without any text
            continue
        pages.append({"_id": path.name, "title": parsed.title, "text": parsed.text})
    known = {page["_id"] for page in pages}
    found = {words: names & known for words, names in entries(folder / INDEX).items() if len(words.split()) > 1}
    usable = sorted(words for words, names in found.items() if 0 < len(names) <= MOST_PAGES)
    chosen = random.Random(seed).sample(usable, min(queries, len(usable)))
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    asked = [{"_id": str(number), "text": words} for number, words in enumerate(chosen)]
    judged = [f"{number}\t{name}\t1" for number, words in enumerate(chosen) for name in sorted(found[words])]
    for name, rows in (("corpus.jsonl", pages), ("queries.jsonl", asked)):
        (out / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (out / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged, ""]), encoding="utf-8")
    return len(pages), len(asked)


def main() -> None:
    """Write the set and say what it has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="HTML_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER")
    parser.add_argument("--queries", type=int, default=260)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    pages, queries = write(arguments.folder, arguments.out, arguments.queries, arguments.seed)
    print(f"{arguments.out}: {queries} queries over {pages:,} pages")


if __name__ == "__main__":
    main()
