"""Where training's documents come from: files of JSON lines, and the links of pages that are still where they were."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from indexer.engine import Engine
from indexer.errors import InputError
from indexer.ingest import accept
from indexer.scope import Scope
from indexer.store.content import Accepted
from indexer.types import SourceFile
from indexer.worker import Worker
from searchd.settings import Settings
from searchd.train.material import links_of_file, links_of_page, read_collection, read_corpus
from tests.searchd.train.documents import INDEX, PAGE


def test_links_lead_within_the_site_and_are_named_by_uri_and_fragment() -> None:
    (link,) = links_of_page(PAGE, "/docs/manual/pumps.html")
    assert (link.text, link.target, link.fragment) == ("closing the safety valve", "/docs/manual/valves.md", "close")


def test_an_index_gives_every_entry_by_its_term() -> None:
    found = links_of_page(INDEX, "/docs/manual/contents.html")
    assert [(one.text, one.target, one.entry) for one in found] == [
        ("safety valve", "/docs/manual/valves.md", True),
        ("red button", "/docs/manual/pumps.html", True),
        ("gearbox", "/docs/manual/pumps.html", True),
    ]
    many = "".join(f'<li><a href="p.html#n{n}">entry number {n}</a></li>' for n in range(500))
    assert len(links_of_page(f"<title>The manual</title><ul>{many}</ul>", "/docs/genindex.html")) == 500
    assert len(links_of_page(f"<title>The manual</title><ul>{many}</ul>", "/docs/index.html")) == 40


def test_a_link_up_and_down_again_is_the_same_page_once() -> None:
    html = (
        '<a href="../b/c.html">see the chapter</a> <a href="c.html">the chapter again</a> <a href="#x">here below</a>'
    )
    found = links_of_page(html, "/docs/b/a.html")
    assert [(one.target, one.fragment) for one in found] == [("/docs/b/c.html", ""), ("/docs/b/a.html", "x")]


def test_links_are_read_from_files_that_are_as_they_were_when_they_were_added(tmp_path: Path) -> None:
    folder = tmp_path / "own manual"
    folder.mkdir()
    kept, changed, gone, secret = (folder / f"{name}.html" for name in ("kept", "changed", "gone", "secret"))
    for page in (kept, changed, gone, secret):
        page.write_text(PAGE)
    (folder / "valves.md").write_text("# Valves\n\n## Close\n\nTurn the wheel to the right.")
    own = [SourceFile(page.as_uri(), page.name, page.read_bytes()) for page in folder.iterdir() if page != secret]
    posted = SourceFile(secret.as_uri(), "posted.html", PAGE.replace("box", "bag").encode())
    changed.write_text(PAGE.replace("box", "bag"))
    gone.unlink()
    engine = Engine.open(Settings(data_dir=str(tmp_path / "data"), parser_processes=1))
    try:
        accept(engine.database, engine.settings, "default", [*own, posted], 1.0)
        worker = Worker(engine)
        worker.run_until_idle()
        worker.stop()
        found = read_collection(engine.database, Scope("default"))
        without = read_collection(engine.database, Scope("default"), own_files=False)
    finally:
        engine.close()
    links = {Path(one.uri).name: [link.text for link in one.links] for one in found.documents}
    assert links.pop("kept.html") == ["closing the safety valve"]
    assert links == {"changed.html": [], "gone.html": [], "secret.html": [], "valves.md": []}
    (leads,) = {found.by_uri[link.target].title for one in found.documents for link in one.links}
    assert leads == "Valves"
    assert not any(one.links for one in without.documents)


def test_a_collection_is_asked_in_its_own_language(tmp_path: Path) -> None:
    engine = Engine.open(Settings(data_dir=str(tmp_path / "data"), parser_processes=1, default_language="de"))
    try:
        accept(
            engine.database,
            engine.settings,
            "default",
            [SourceFile("a.md", "a.md", b"# Pumpen\n\nWasser steigt.")],
            1.0,
        )
        worker = Worker(engine)
        worker.run_until_idle()
        worker.stop()
        found = read_collection(engine.database, Scope("default"))
    finally:
        engine.close()
    assert found.language == "de"
    assert len(found.documents) == 1


def test_what_is_no_page_on_this_machine_has_no_links(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.html")
    known = Accepted(0, "", {}, "")
    for uri in (str(tmp_path), f"{tmp_path}/pipe.html", "https://example.org/a.html", "notes.html", "/\0.html"):
        assert links_of_file(uri, lambda _: known) == ()


def test_a_line_that_is_no_document_is_named(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"document_id": "a", "title": "A", "passages": []}\n{"id": 1}\n')
    with pytest.raises(InputError, match=r"line 2 of corpus\.jsonl: .*document_id"):
        read_corpus(path)


def test_a_corpus_gives_each_document_once_with_its_source(tmp_path: Path) -> None:
    line = {"document_id": "a", "title": "A", "source": "s", "passages": [{"text": "One.", "heading_path": ["A", "B"]}]}
    path = tmp_path / "corpus.jsonl"
    path.write_text(f"{json.dumps(line)}\n\n{json.dumps(line)}\n")
    (document,) = read_corpus(path).documents
    assert (document.source, document.passages[0].heading_path) == ("s", ("A", "B"))
    path.write_text('{"title": "A"}\n')
    with pytest.raises(InputError):
        read_corpus(path)
