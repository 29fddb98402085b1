"""JSON documents with something wrong in them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "00", "FF", "none", "fc1q", "=" * 9, "\ud800"]),
    # Made anew each time, because they are changed in place.
    st.builds(list),
    st.builds(dict),
    st.builds(lambda: [[], [], []]),
    st.builds(lambda: {"n": 1}),
)


def places(document: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        inside = waiting.pop()
        keys: list[Any] = []
        if isinstance(inside, dict):
            keys = list(inside)
        elif isinstance(inside, list):
            keys = list(range(len(inside)))
        for key in keys:
            found.append((inside, key))
            waiting.append(inside[key])
    return found


@st.composite
def spoilt(draw: st.DrawFn, documents: st.SearchStrategy[Any]) -> Any:
    """A document with one or two things replaced, left out, or added."""
    document = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(1, 2))):
        inside = places(document)
        if not inside:
            return draw(ANYTHING)
        container, key = inside[draw(st.integers(0, len(inside) - 1))]
        match draw(st.sampled_from(["replace", "leave out", "add"])):
            case "replace":
                container[key] = draw(ANYTHING)
            case "leave out":
                del container[key]
            case _ if isinstance(container, dict):
                container[draw(st.text(max_size=5))] = draw(ANYTHING)
            case _:
                container.append(draw(ANYTHING))
    return document
