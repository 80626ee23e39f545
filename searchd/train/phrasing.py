"""Headings as people would ask for them: "Installing packages" -> "how do I install packages". English, by rules.

Pure; used by `builders.py`. A wrong guess costs little: it is one oddly worded query among many.
"""

from __future__ import annotations

import re
from random import Random
from typing import Final

_NUMBERING: Final = re.compile(
    r"^(?:(?:chapter|section|appendix|part|table|figure|example|question)\s+)?"
    r"(?:[A-Z]?\d+(?:\.\d+)*[.):]?|[A-Z](?:\.\d+)+[.):]?|[A-Z][.):])\s+(?=\S)",
    re.IGNORECASE,
)
_SIGNS: Final = re.compile(r"[\u00b6\uf0c1\U0001f517#*`]+\s*$")
_ASKING: Final = re.compile(
    r"^(?:how|what|why|when|where|which|who|can|could|does|do|is|are|should|will|may|must|did|has|have)\b",
    re.IGNORECASE,
)
_DEFINITION: Final = re.compile(
    r"^(?P<subject>(?:(?:The|A|An)\s+)?[\w.+/-]+(?:\s+[\w.+/-]+){0,3}?)\s+(?P<verb>is|are)\s+(?:an?|the|one|used|any|defined)\b"
)
_VAGUE_SUBJECTS: Final = frozenset("this it that these there they he she what which here such the following".split())
_VERBS: Final = frozenset(
    "add adjust allow apply attach avoid backup boot build call change check choose clean clear close combine compare compile "
    "configure connect convert copy create customize debug define delete deploy detect disable display download draw edit "
    "enable encrypt enter execute export extend extract filter find fix force format generate get handle hide implement import "
    "improve include increase insert install join limit link list load locate log make manage map mark measure merge migrate "
    "modify monitor mount move open optimize organize override parse paste play plot prevent print protect publish query quit "
    "read record reduce remove rename repair replace report reset resize resolve restore restrict retrieve rotate run save "
    "scale scan schedule search secure select send set share show simplify solve sort specify split start stop store submit "
    "switch sync take test track transfer translate turn uninstall update upgrade upload use validate verify view work "
    "write".split()
)
_ENDS_IN_E: Final = re.compile(
    r"(?:[aeiou]t|iz|[uo]s|[aio]v|[aeo]ng|[aeo]g|uc|[aeiou]r|[aio]k|[aiou]d|[aio]n|ibl|bl|pl|dl|i[lm]|[vs])$"
)
_NOT_IN_E: Final = frozenset(
    "edit visit limit commit load read add send find build print list sort test start boot import export convert insert mount "
    "count point format reset get set put run log plug map drop stop debug split submit transfer filter monitor enter order "
    "render register remember consider explain obtain contain maintain train learn return turn clean open join design assign "
    "sign scan plan look check work link click pick pack track mark break speak book hook search boil model cancel label "
    "control scroll roll call fill fail mail install pull sell tell spell compil perform transform form confirm program "
    "ask view show draw know allow follow review upload download understand extend expand respond depend append bind "
    "wind".split()
)


def plain(heading: str) -> str:
    """Return a heading without its numbering and permalink sign."""
    return _NUMBERING.sub("", _SIGNS.sub("", heading.strip())).strip() or heading.strip()


def is_question(text: str) -> bool:
    """Say whether a heading asks something already."""
    return text.rstrip().endswith("?") or (_ASKING.match(text) is not None and len(text.split()) > 3)


def verb_of(gerund: str) -> str | None:
    """Return the verb of "installing", None if it is no gerund."""
    word = gerund.lower()
    if not word.endswith("ing") or len(word) < 5:
        return None
    stem = word[:-3]
    if stem in _VERBS or stem in _NOT_IN_E:
        return stem
    if f"{stem}e" in _VERBS:
        return f"{stem}e"
    if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "lsz":
        return stem[:-1]
    return f"{stem}e" if _ENDS_IN_E.search(stem) else stem


def lowered(text: str) -> str:
    """Return text with a small first letter, unless its first word is a name or an abbreviation."""
    first, _, rest = text.partition(" ")
    return text if any(c.isupper() or c.isdigit() for c in first[1:]) else f"{first.lower()} {rest}".strip()


def asked(heading: str, rng: Random) -> str:
    """Return a natural question that a section under `heading` answers."""
    heading = plain(heading)
    if is_question(heading):
        return heading
    first, _, rest = heading.partition(" ")
    verb = verb_of(first) or (first.lower() if first.lower() in _VERBS else None)
    if verb and rest:
        action = f"{verb} {rest}"
        return rng.choice(
            (
                f"How do I {action}?",
                f"how to {action}",
                f"How can I {action}?",
                f"what is the way to {action}",
                f"i want to {action}",
            )
        )
    name = lowered(heading)
    if heading.endswith("s") and not heading.endswith("ss"):
        return rng.choice(
            (f"What are {name}?", f"what {name} are there", f"which {name} can be used", f"explain the {name}")
        )
    return rng.choice(
        (f"What is {name}?", f"what does {name} mean", f"How does {name} work?", f"tell me about {name}", f"why {name}")
    )


def defined(sentence: str, rng: Random) -> str | None:
    """Return a question for a sentence that defines something ("X is a ..."), None for any other."""
    found = _DEFINITION.match(sentence)
    if found is None or found["subject"].split()[0].lower() in _VAGUE_SUBJECTS - {"the"}:
        return None
    subject = lowered(re.sub(r"^(?:The|A|An)\s+", "", found["subject"]))
    verb = found["verb"]
    return rng.choice(
        (f"What {verb} {subject}?", f"what {verb} {subject}", f"definition of {subject}", f"{subject} meaning")
    )


def sought(sentence: str, rng: Random) -> str:
    """Return a long query from a sentence, worded as people who search abstracts word theirs."""
    text = lowered(sentence.strip().rstrip(".!:;"))
    choice = rng.random()
    if choice < 0.5:
        return text
    if choice < 0.7:
        return f"{text.lower()} ."
    opening = rng.choice(
        ("what is known about", "is it true that", "papers on", "find information on", "has anyone shown that")
    )
    return f"{opening} {text.lower()}"
