"""Questions as people ask them, and meanings without shared words: the second part of what the house models learn from.

    python benchmarks/house/faqs.py WORK_DIR

Fetches the packages of `faq-packages.txt` (those whose documentation has a file called FAQ), unpacks such files only, makes
every question in them a heading over its answer, and adds pairs of dictionary entries that explain one word differently.
Writes WORK_DIR/faqs.jsonl, documents as in corpus.jsonl, and WORK_DIR/meanings.jsonl, judgments that read_judged takes.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path, PurePath

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.house.corpus import SEED, SKIPPED, dictionary_entries, entry, fetch, is_english, read, split
from indexer.formats.builder import TextBuilder
from indexer.types import ParsedText

PACKAGES = Path(__file__).with_name("faq-packages.txt")
UNPACKED = ("*[Ff][Aa][Qq]*", "*uestions*")
BINARY = re.compile(r"\.(png|jpe?g|gif|svg|css|js|py|pdf|ps|dvi|eps|so|h|c|dz|index)(\.gz)?$", re.IGNORECASE)
PASSAGES_EACH = 150
"""Of a package: at most so many passages."""
LONGEST_ANSWER = 500
"""Characters of an answer that are read: the beginning, which is what is compared."""
MEANINGS = 4500
"""Words that both dictionaries explain; of GCIDE's entries those that quote WordNet are left out."""
_ASKED = re.compile(
    r"^(?:[-*#>=+|\s]*)(?:Q(?:uestion)?\b\s*[\w.]{0,5}\s*[:.)\]-]*\s*)?(?:[\[(]?[A-Z]?\d+(?:[.-]\d+)*[\])]?[.):\]-]*\s+)?"
    r"(?:Q(?:uestion)?\s*[:.)-]\s*)?(?P<question>[\"'A-Z(I][^?]{8,160}\?)(?P<rest>[\s\S]*)$"
)
_ANSWER = re.compile(r"^\s*(?:A(?:nswer)?\s*[\w.]{0,5}\s*[:.)\]-]+\s+|[-=~*_]{3,}\s*)")


def asks(parsed: ParsedText) -> ParsedText:
    """Return a document whose questions are headings, whatever they were: terms of a list, bold lines, "Q: ..." in a text.

    What answers no question is left out, and of long answers all but the first paragraphs.
    """
    builder = TextBuilder()
    length = LONGEST_ANSWER
    for block in parsed.blocks:
        text = parsed.text[block.start : block.end].strip()
        found = _ASKED.match(re.sub(r"\s*\n\s*", " ", text) if len(text) < 200 else text)
        if found is not None and 3 <= len(found["question"].split()) <= 30:
            builder.heading(re.sub(r"\s+", " ", found["question"]), 2)
            text, length = found["rest"].strip(), 0
        elif block.kind == "heading":
            builder.heading(text, 1)
            length = LONGEST_ANSWER
            continue
        text = _ANSWER.sub("", text)
        if text and length < LONGEST_ANSWER:
            builder.paragraph(text)
            length += len(text)
    return builder.build(parsed.title, parsed.title)


def documents_of(package: Path) -> list[str]:
    """Return one package's lines: every file that is called FAQ, as far as it is English and asks anything."""
    rng = random.Random(f"{SEED}:{package.name}")
    files = [path for path in sorted(package.rglob("*")) if path.is_file() and wanted(path.relative_to(package))]
    rng.shuffle(files)
    found: list[str] = []
    passages = 0
    for path in files:
        uri = f"{package.name}/{path.relative_to(package).as_posix()}"
        for parsed, _links in read(path, uri):
            if "?" not in parsed.text or not is_english(parsed.text):
                continue
            row = split(uri, asks(parsed), [], package.name)
            if row is not None and passages < PASSAGES_EACH:
                passages += len(row["passages"])  # type: ignore[arg-type]
                found.append(json.dumps(row, ensure_ascii=False))
    return found


def wanted(path: PurePath) -> bool:
    """Say whether a file is an FAQ in English that the product can read."""
    return SKIPPED.search(f"/{path.as_posix()}") is None and BINARY.search(path.name) is None


def meanings(unpacked: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (query, word, text): how WordNet explains a word, and how GCIDE does, in turn asked and answering."""
    wordnet = dict(dictionary_entries(unpacked / "dict-wn"))
    gcide = dict(dictionary_entries(unpacked / "dict-gcide"))
    words = sorted(word for word in wordnet.keys() & gcide.keys() if word.isalpha() and len(word) > 3)
    random.Random(SEED).shuffle(words)
    for number, word in enumerate(words[:MEANINGS]):
        asked, answering = (wordnet, gcide) if number % 3 else (gcide, wordnet)
        query = explanation(asked[word], word)
        if query is not None and "[WordNet" not in gcide[word]:
            yield query, word, answering[word]


def explanation(text: str, word: str) -> str | None:
    """Return what an entry says first about its word, without the word; None if that is too little."""
    body = " ".join(text.split("\n")[1:])
    body = re.sub(r"\[[^\[\]]*\]|\\[^\\]*\\|[{}]|\"[^\"]*\"|\([^()]*\)", " ", body)
    body = re.split(r"(?<=[a-z]{3})[.;](?=\s)|\s\d+[:.]\s", re.sub(r"^\s*(?:\w{1,4}\.?\s+)?(?:\d+[:.]\s*)?", "", body))[
        0
    ]
    body = re.sub(rf"\b{re.escape(word[: max(4, len(word) - 2)])}\w*", " ", body, flags=re.IGNORECASE)
    body = re.sub(r"\s+", " ", body).strip(" .,;:-")
    return body[:200] if 4 <= len(body.split()) <= 40 and body.isascii() else None


def main() -> None:
    """Fetch, then write both files from what is unpacked in WORK_DIR/faqs and WORK_DIR/x."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    work: Path = parser.parse_args().work
    fetch(work, PACKAGES, work / "faqs", UNPACKED)
    packages = [path for path in sorted((work / "faqs").iterdir()) if path.is_dir()]
    seen: set[str] = set()
    with ProcessPoolExecutor(2) as pool, (work / "faqs.jsonl").open("w", encoding="utf-8") as out:
        for lines in pool.map(documents_of, packages, chunksize=8):
            for line in lines:
                same = json.dumps(json.loads(line)["passages"][:2])
                if same not in seen:
                    seen.add(same)
                    out.write(f"{line}\n")
        with (work / "meanings.jsonl").open("w", encoding="utf-8") as judged:
            for query, word, text in meanings(work / "x"):
                row = entry("meaning", word, text)
                if row is not None:
                    out.write(f"{json.dumps(row, ensure_ascii=False)}\n")
                    judged.write(f"{json.dumps({'query': query, 'document_id': row['document_id']})}\n")


if __name__ == "__main__":
    main()
