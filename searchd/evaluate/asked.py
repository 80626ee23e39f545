"""What `searchd eval` is asked for: its options as they were read. Light, for the command imports it when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from searchd.judge.beir import folder_named


@dataclass(frozen=True, slots=True)
class Asked:
    """The options."""

    name: str | None
    collection: str
    profile: str
    principals: tuple[str, ...]
    queries: int
    split: str
    complete: bool
    json_file: Path | None
    html_file: Path | None
    runs: Path | None
    compared: tuple[str, str] | None
    min_ndcg: float | None
    max_drop: float | None

    @property
    def dataset(self) -> Path | None:
        """The BEIR folder that is asked for, None if it is a stored set. Raises: InputError for one without queries."""
        return folder_named(self.name)
