"""How texts of the specification become docstrings."""

import textwrap

WIDTH = 120
"""Columns of a line of code."""


def sentence(text: str) -> str:
    """Return a text on one line that ends like a sentence."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def opening(text: str, indent: int) -> str:
    """Return what stands on the first line of a docstring: the whole text if it fits, else its first sentence."""
    text = sentence(text)
    first, stop, _ = text.partition(". ")
    return text if fits(text, indent) or not stop else f"{first}."


def fits(text: str, indent: int) -> bool:
    """Return whether a text fits on one line of code with the quotes of a docstring around it."""
    return indent + len(quoted(text, 0)) <= WIDTH


def wrap(text: str, indent: str = "", hanging: str | None = None) -> list[str]:
    """Break a text into lines that fit at the indent of a method; words stay whole, those with hyphens too."""
    return textwrap.wrap(
        text,
        WIDTH - 8,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def docstring(text: str, indent: int, *more: str) -> str:
    """Return the docstring of a module, class or field: what fits on the first line, and paragraphs below it."""
    first = opening(text, indent)
    rest = sentence(text)[len(first) :].strip()
    paragraphs = ["\n".join(wrap(paragraph)) for paragraph in (rest, *more) if paragraph]
    return quoted("\n\n".join([first, *paragraphs]), indent)


def quoted(text: str, indent: int) -> str:
    """Return a docstring as it stands in code, with its quotes, whatever it says."""
    margin = " " * indent
    # A docstring cannot hold its own quotes. Raw instead of escaped: the lines are as long as they were measured.
    text = textwrap.indent(text.strip().replace('"""', "'''"), margin).strip()
    opening_quotes = 'r"""' if "\\" in text else '"""'
    return f'{opening_quotes}{text}\n{margin}"""' if "\n" in text else f'{opening_quotes}{text}"""'
