"""Tables in documents of Markdown, and the places where a command puts them."""

import re
from collections.abc import Callable, Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """A table; the first ``words`` columns hold words, the others numbers."""
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def refresh(text: str, content: Callable[[str], str]) -> str:
    """A document with ``content(NAME)`` between each ``<!-- table: NAME -->`` and its end mark."""

    def replaced(found: re.Match) -> str:
        return f"{found[1]}\n{content(found[2])}\n{found[3]}"

    return re.sub(r"(<!-- table: (\w+) -->).*?(<!-- end -->)", replaced, text, flags=re.DOTALL)
