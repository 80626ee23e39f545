"""Documents for training tests, through the product's own formats and splitter, and groups a tiny model can learn."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from transformers import AutoTokenizer

from indexer.embedder import plain_tokenizer
from indexer.formats.table import parse
from indexer.splitter import Splitter
from indexer.types import Document
from indexer.weights import house_folder
from searchd.train.material import links_of_page
from searchd.train.types import Group, Material, TrainingDocument

PAGE = """<html><head><title>Pumps</title></head><body><main><h1>Pumps</h1>
<p>A pump is a machine that moves water from a low place to a high place, by means of a motor and a valve.</p>
<h2>Installing the pump</h2>
<p>Put the pump on a level floor and fasten it with four bolts. Then connect both pipes to the pump and let the water in.
The valve has to be closed while you do this. Open it slowly when everything is tight and the motor runs.</p>
<h2>2.3. How do I stop the motor?</h2>
<p>Press the red button for two seconds and wait until the lamp goes out. The motor stops by itself after an hour too.</p>
<p>See <a href="valves.md#close">closing the safety valve</a> before you open the box, and
<a href="https://example.org/">the maker's site</a>.</p></main></body></html>"""

VALVES = """# Valves

Valves let water through, or they do not; every pump of ours has two of them, and both are made of brass and steel.

## Closing the safety valve

Turn the wheel to the right until it does not go any further, then fasten the chain so that nobody opens it again.
"""

INDEX = """<html><head><title>Index</title></head><body><h1>Index</h1><ul>
<li>safety valve, <a href="valves.md#close">Closing it</a></li><li><a href="pumps.html">red button</a></li>
<li><a href="pumps.html#x">gearbox</a></li></ul></body></html>"""


@functools.cache
def splitter() -> Splitter:
    """Return the product's splitter; its tokenizer takes 0.1 s to read."""
    tokenizer = AutoTokenizer.from_pretrained(house_folder(), local_files_only=True)
    return Splitter(plain_tokenizer(tokenizer), 200, 24)


def document(uri: str, content: str) -> TrainingDocument:
    """Return a file as training reads it."""
    (parsed,) = parse(uri, content.encode())
    whole = Document("train", uri, parsed.title, uri, parsed.text, parsed.blocks, {}, ("public",), 1, uri)
    links = links_of_page(content, uri) if uri.endswith(".html") else ()
    return TrainingDocument(uri, parsed.title, uri, splitter().split("train", whole), links)


def material() -> Material:
    """Return a page of HTML that points at one of markdown."""
    return Material((document("manual/pumps.html", PAGE), document("manual/valves.md", VALVES)))


def markdown_material(texts: dict[str, str]) -> Material:
    """Return markdown files by name."""
    return Material(tuple(document(name, text) for name, text in texts.items()))


WORDS = ("pump", "valve", "motor", "lamp", "wheel", "chain", "pipe", "button", "bolt", "floor", "box", "water")


def groups(count: int = 96) -> Sequence[Group]:
    """Return groups whose answer has the query's word."""
    found = []
    for number in range(count):
        word, other, third = (WORDS[(number * step + 1) % len(WORDS)] for step in (1, 5, 7))
        texts = (f"All about the {word} and its use. " * (1 + number % 4), f"The {other} of today.", f"A {third}.")
        found.append(Group(f"what is a {word}", "asked", texts, (0.8, 0.4, 0.3), (1.0, 0.0, 0.0)))
    return found
