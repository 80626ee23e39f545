"""What a search page shows, as its URL says it: read from the query string, written into every link.

Unknown parameters are ignored (a shared link may carry a tracker's); known ones that make no sense are InputErrors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args
from urllib.parse import urlencode

from indexer.errors import InputError
from searchd.types import Mode

HITS_PER_PAGE = 10
MAX_PAGE = 1000
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class SearchState:
    """The whole state of a search page. `off` and `on` name stages switched against their profile."""

    q: str = ""
    collection: str = ""
    """Empty: not said; the page then picks one."""
    filter: str = ""
    mode: Mode = "hybrid"
    profile: str = "default"
    page: int = 1
    off: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    rerank: bool = True
    explain: bool = False
    judge: str = ""
    """The judged set that hits are graded into; empty: none."""
    min_relevance: float | None = None
    """The least calibrated relevance of what is shown, 0 to 1."""

    @classmethod
    def read(cls, pairs: Iterable[tuple[str, str]]) -> SearchState:
        """Read a query string's pairs; the last one of a name counts, except for stages. Raises: InputError."""
        last: dict[str, str] = {}
        off: list[str] = []
        on: list[str] = []
        for name, value in pairs:
            if name == "no" and value:
                off.append(value)
            elif name == "with" and value:
                on.append(value)
            else:
                last[name] = value
        return cls(
            q=last.get("q", "").strip(),
            collection=last.get("collection", ""),
            filter=last.get("filter", "").strip(),
            mode=_mode(last.get("mode", "")),
            profile=last.get("profile", "") or "default",
            page=_page(last.get("page", "")),
            off=tuple(dict.fromkeys(off)),
            on=tuple(dict.fromkeys(on)),
            rerank=last.get("rerank", "") != "off",
            explain=last.get("explain", "") not in ("", "0", "false"),
            judge=last.get("judge", ""),
            min_relevance=_relevance(last.get("min_relevance", "")),
        )

    @property
    def offset(self) -> int:
        """How many hits come before this page."""
        return (self.page - 1) * HITS_PER_PAGE

    def pairs(self) -> list[tuple[str, str]]:
        """Return the shortest query string that reads back to this state, as pairs."""
        found = [("q", self.q), ("collection", self.collection), ("filter", self.filter)]
        if self.mode != "hybrid":
            found.append(("mode", self.mode))
        if self.profile != "default":
            found.append(("profile", self.profile))
        found += [("no", name) for name in self.off] + [("with", name) for name in self.on]
        if not self.rerank:
            found.append(("rerank", "off"))
        if self.explain:
            found.append(("explain", "1"))
        found.append(("judge", self.judge))
        if self.min_relevance is not None:
            found.append(("min_relevance", f"{self.min_relevance:g}"))
        if self.page > 1:
            found.append(("page", str(self.page)))
        return [(name, value) for name, value in found if value]

    def url(self, **changes: Any) -> str:
        """Return the address of the search page in this state with `changes`; page 1 unless they say otherwise."""
        pairs = replace(self, **({"page": 1} | changes)).pairs()
        return "/?" + urlencode(pairs) if pairs else "/"

    def carried(self, *asked_elsewhere: str) -> list[tuple[str, str]]:
        """Return the pairs a form must carry in hidden fields: all but the page and the fields it shows itself."""
        return [(name, value) for name, value in self.pairs() if name not in ("page", *asked_elsewhere)]

    def runs(self, stage: str, enabled: bool) -> bool:
        """Say whether a stage is asked for; `enabled` is what its profile says."""
        return self.rerank and stage not in self.off and (enabled or stage in self.on)

    def switched(self, stage: str, run: bool, stages: Mapping[str, bool]) -> SearchState:
        """Return the state with one stage run or left out; `stages` maps each of the profile to its `enabled`."""
        wanted = {name: self.runs(name, enabled) for name, enabled in stages.items()} | {stage: run}
        return replace(
            self,
            off=tuple(name for name, enabled in stages.items() if enabled and not wanted[name]),
            on=tuple(name for name, enabled in stages.items() if not enabled and wanted[name]),
            rerank=True,
            page=1,
        )


def _mode(text: str) -> Mode:
    for mode in MODES:
        if text in (mode, ""):
            return mode
    raise InputError(f"mode {text[:40]!r} is not known; {', '.join(MODES)} are", code="invalid_mode")


def _relevance(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text[:20])
    except ValueError:
        value = -1.0
    if 0 <= value <= 1:
        return value
    raise InputError("min_relevance must be a number from 0 to 1", code="invalid_parameter")


def _page(text: str) -> int:
    if not text:
        return 1
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PAGE:
        return int(text[:9])
    raise InputError(f"page must be a number from 1 to {MAX_PAGE:,}", code="invalid_page")
