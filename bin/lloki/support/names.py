"""Names that users gave, as names of files and of elements of a store."""

from __future__ import annotations

import re
from collections.abc import Iterable


def plain_names(names: Iterable[object], taken: Iterable[str] = ()) -> dict[str, str]:
    """For each name one of letters, digits and `_-.` alone, all different, in any case of letters.

    None is one of `taken`, hidden, or a folder's own (`..`). SpatialData asks the same of names.
    """
    found, used = {}, {name.casefold() for name in taken}
    for name in map(str, names):
        plain = re.sub(r"^(__+|\.+)", "_", re.sub(r"[^\w.-]", "_", name)) or "_"
        while plain.casefold() in used:
            plain += "_"
        used.add(plain.casefold())
        found[name] = plain
    return found
