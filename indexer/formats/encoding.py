"""Bytes to text: byte order mark, then the declared charset, then UTF-8, then detection.

Takes what a file holds; gives text without control characters, or a `not_text` failure for binary content.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

import charset_normalizer

from indexer.formats.failures import failure

DETECTION_BYTES: Final = 64_000
"""charset-normalizer judges a sample of this size; its cost grows with the sample."""
MAX_CONTROL_SHARE: Final = 0.02
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ALIASES: Final = {"iso8859-1": "cp1252", "ascii": "cp1252"}
"""As browsers do: pages that declare Latin-1 or ASCII mean Windows-1252, its superset."""
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff\ud800-\udfff]")
_MAGIC: Final = (
    b"\x7fELF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd",
    b"PK\x03\x04", b"PK\x05\x06", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"SQLite format 3\0", b"\0asm", b"OggS", b"RIFF", b"ID3", b"II*\0", b"MM\0*",
    b"PAR1", b"\x00\x00\x01\x00", b"wOFF", b"wOF2", b"\x80\x04\x95", b"!<arch>\n", b"8BPS", b"fLaC", b"%PDF-",
)  # fmt: skip


def is_binary(content: bytes) -> bool:
    """Say whether the first bytes are those of a known binary format, or full of NULs that no UTF-16 explains."""
    head = content[:4096]
    if any(head.startswith(magic) for magic in _MAGIC) or (head.startswith(b"MZ") and b"\0" in head):
        return True
    return b"\0" in head and _bom_encoding(head) is None and _utf16_without_bom(head) is None and (
        head.count(0) > len(head) * MAX_CONTROL_SHARE
    )  # fmt: skip


def decode(content: bytes, declared: str | None = None) -> str:
    """Return the text of `content`, newlines as `\\n`, control characters and lone surrogates removed.

    `declared` is a charset the file names itself; it is believed if the bytes fit it. Bytes that fit no encoding are
    replaced by U+FFFD. Raises: ParseFailure `not_text` for binary content.
    """
    if is_binary(content):
        raise failure("not_text", "the content is binary, not text")
    text = _decode(content, declared)
    stray = sum(1 for _ in _CONTROL.finditer(text[:100_000])) + text.count("\ufffd", 0, 100_000)
    if stray > 8 and stray > min(len(text), 100_000) * MAX_CONTROL_SHARE:
        raise failure("not_text", f"{stray:,} control or undecodable characters near the start: not text")
    return clean(text)


def clean(text: str) -> str:
    """Return text with newlines as `\\n`, without control characters, lone surrogates and noncharacters."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(text):
        text = _CONTROL.sub("", text)
    if "\x0c" in text:
        text = text.replace("\x0c", "\n")
    return text


def _decode(content: bytes, declared: str | None) -> str:
    marked = _bom_encoding(content)
    if marked is not None:
        return content.decode(marked, errors="replace").removeprefix("\ufeff")
    wide = _utf16_without_bom(content[:4096])
    candidates = [_known(declared), "utf-8"] if wide is None else [wide]
    for encoding in candidates:
        if encoding is not None:
            try:
                return content.decode(encoding)
            except UnicodeError:
                continue
    if _nearly_utf8(content):
        return content.decode("utf-8", errors="replace")
    best = charset_normalizer.from_bytes(content[:DETECTION_BYTES]).best()
    return content.decode(best.encoding if best is not None else "cp1252", errors="replace")


def _bom_encoding(content: bytes) -> str | None:
    return next((encoding for bom, encoding in _BOMS if content.startswith(bom)), None)


def _utf16_without_bom(head: bytes) -> str | None:
    """Guess UTF-16 by where the NULs are: Latin text has them in every second byte."""
    half = len(head) // 2
    if half < 2:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > half * 0.6 and even < half * 0.05:
        return "utf-16-le"
    if even > half * 0.6 and odd < half * 0.05:
        return "utf-16-be"
    return None


def _nearly_utf8(content: bytes) -> bool:
    """Say whether this is UTF-8 with a few damaged bytes: much that decodes as multi-byte, little that does not."""
    text = content[:DETECTION_BYTES].decode("utf-8", errors="replace")
    bad = text.count("\ufffd")
    multibyte = sum(1 for character in text if character > "\x7f") - bad
    return multibyte > 10 * bad


def _known(declared: str | None) -> str | None:
    """Return the codec of a declared charset, None for unknown ones and for codecs that are no charsets (rot13)."""
    if not declared:
        return None
    try:
        found = codecs.lookup(declared.strip())
        b"".decode(found.name)
    except (LookupError, ValueError):
        return None
    return _ALIASES.get(found.name, found.name)
