"""What html elements mean for reading: which are dropped, which break a paragraph, which page parts are chrome."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

DROPPED: Final = frozenset(
    "script style noscript template nav footer aside form button select textarea input svg iframe object embed head "
    "dialog canvas audio video map datalist progress meter title link meta".split()
)
BLOCKS: Final = frozenset(
    "address article blockquote body caption center dd details dir div dl dt fieldset figcaption figure form header hgroup "
    "hr html legend li main menu ol p pre search section summary table tbody td tfoot th thead tr ul".split()
)
HEADINGS: Final = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_CHROME_ROLES: Final = frozenset({"navigation", "banner", "contentinfo", "search", "complementary", "menu", "menubar"})
_CHROME: Final = re.compile(
    r"^(?:(?:site|page|main|top|bottom|global|doc|docs|rst|md|wy)[-_]?)?(?:nav|navbar|navigation|navheader|navfooter|breadcrumbs?|side-?bar"
    r"|sphinxsidebar(?:wrapper)?|site-?header|site-?footer|page-?header|page-?footer|footer|menu|cookies?|"
    r"cookie-?(?:banner|consent|notice)|consent|skip-?(?:link|nav|to-content)?|related|share|social|social-?share|"
    r"search-?box|searchbox|pagination|pager|prev-?next|edit-?(?:this-?)?page|advert(?:isement)?s?|ads?|newsletter|"
    r"comments?-?form|mw-editsection|noprint|catlinks|printfooter)$",
    re.IGNORECASE,
)
_TOC: Final = re.compile(
    r"^(?:toc|table-?of-?contents|contents|toctree-wrapper|localtoc|page-?toc|bd-toc)$", re.IGNORECASE
)
_ADMONITION: Final = re.compile(
    r"^(?:note|tip|warning|caution|important|danger|hint|attention|admonition|sidebar)$", re.I
)
CHECKED: Final = frozenset(
    "div section ul ol dl table p span header h1 h2 h3 h4 h5 h6 a figure li article center".split()
)


def is_chrome(attributes: Mapping[str, str | None], *, drop_toc: bool) -> bool:
    """Say whether an element is navigation, banner, advertisement or the like by its role, class and id."""
    if not attributes:
        return False
    role = attributes.get("role")
    hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true"
    if hidden or (role and role.lower() in _CHROME_ROLES):
        return True
    names = _names(attributes)
    if any(_CHROME.match(name) for name in names):
        return True
    return drop_toc and any(_TOC.match(name) for name in names)


def is_admonition(attributes: Mapping[str, str | None]) -> bool:
    """Say whether an element is a note or warning, whose headings ("Note") head no section."""
    return bool(attributes) and any(_ADMONITION.match(name) for name in (attributes.get("class") or "").split())


def _names(attributes: Mapping[str, str | None]) -> list[str]:
    return [*(attributes.get("class") or "").split(), *(attributes.get("id") or "").split()]
