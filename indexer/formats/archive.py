"""Office files are zip archives from strangers: inflate and count them before any library sees them.

The sizes an archive states are the attacker's words; only what really comes out while inflating is counted.
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from typing import Final

from indexer.formats.failures import failure

MAX_UNPACKED_BYTES: Final = 200_000_000
MAX_MEMBERS: Final = 2_000
MAX_RATIO: Final = 100
RATIO_FROM_BYTES: Final = 1_000_000
"""Small members may compress better than MAX_RATIO; only larger ones are suspect."""
DAMAGE: Final = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, ValueError, OverflowError
)  # fmt: skip
"""What zipfile and its four decompressors raise on damaged archives; bz2 raises OSError, a member beyond 2^63 OverflowError."""
_STEP_BYTES: Final = 1 << 16
_NESTED: Final = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x1f\x8b\x08",
    b"\xfd7zXZ\x00",
    b"BZh",
)
_NESTED_NAMES: Final = (".zip", ".docx", ".pptx", ".xlsx", ".jar", ".7z", ".rar", ".gz", ".xz", ".bz2", ".tar")
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENTITIES: Final = (b"<!DOCTYPE", b"<!ENTITY", "<!DOCTYPE".encode("utf-16-le"), "<!DOCTYPE".encode("utf-16-be"))


def check_office(content: bytes, required: str) -> None:
    """Refuse an office file that is encrypted, damaged, a bomb, or lacks the member `required`.

    Raises: ParseFailure encrypted, malformed, too_many_members, unpacks_too_large or nested_archive.
    """
    if content.startswith(_OLE):
        if "EncryptedPackage".encode("utf-16-le") in content:
            raise failure("encrypted", "the document is protected by a password")
        raise failure("unknown_type", "an office file of the old binary format; save it as docx or pptx")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise failure("too_many_members", f"{len(members):,} members; at most {MAX_MEMBERS:,} are taken")
            if required not in {member.filename for member in members}:
                raise failure("malformed", f"no {required} in it: not the office file its name says")
            total = 0
            for member in members:
                total += _inflate(archive, member, min(member.compress_size, len(content)), MAX_UNPACKED_BYTES - total)
    except DAMAGE as error:
        raise failure("malformed", f"damaged archive: {error}") from error


def _inflate(archive: zipfile.ZipFile, member: zipfile.ZipInfo, packed: int, allowed: int) -> int:
    """Unpack one member, of at most `packed` bytes, into nothing and return its true size."""
    if member.flag_bits & 0x1:
        raise failure("encrypted", f"member {member.filename!r} is protected by a password")
    size = 0
    with archive.open(member) as stream:
        while step := stream.read(_STEP_BYTES):
            if size == 0:
                _check_head(member.filename, step)
            size += len(step)
            if size > allowed:
                raise failure("unpacks_too_large", f"unpacks to more than {MAX_UNPACKED_BYTES // 1_000_000} MB")
            if size > RATIO_FROM_BYTES and size > MAX_RATIO * max(1, packed):
                raise failure(
                    "unpacks_too_large", f"member {member.filename!r} unpacks to over {MAX_RATIO} times its size"
                )
    return size


def _check_head(name: str, head: bytes) -> None:
    lowered = name.lower()
    if head.startswith(_NESTED) or lowered.endswith(_NESTED_NAMES):
        # Charts embed their workbook; it is never opened, but an archive in an archive is how bombs hide.
        if not (lowered.startswith(("word/embeddings/", "ppt/embeddings/")) and _is_workbook(lowered)):
            raise failure("nested_archive", f"member {name!r} is itself an archive")
    if lowered.endswith((".xml", ".rels")) and any(word in head for word in _ENTITIES):
        raise failure("malformed", f"member {name!r} declares a document type or entities, as office files never do")


def _is_workbook(name: str) -> bool:
    return name.endswith((".xlsx", ".xlsm"))
