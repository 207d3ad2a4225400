"""SVG files of matplotlib as parts of a page: own ids, colours of the page, a text alternative."""

from __future__ import annotations

import re
from html import escape

from Neuron_Selection.DrawingTooling.style import PALETTE

_COLOUR = re.compile("|".join(PALETTE.values()))
_VARIABLES = {colour: f"var(--{name})" for name, colour in PALETTE.items()}
_REMOVED = re.compile(
    r"<metadata>.*?</metadata>|<style.*?</style>|<defs>\s*</defs>|<title>.*?</title>|<!--.*?-->"
    r'| transform="rotate\(-?0 [^)]*\)"| (?:width|height)="[\d.]+pt"| xmlns(?::xlink)?="[^"]*"|<g/>',
    re.DOTALL,
)
_NUMBERS = re.compile(r' (?:d|x|y|x1|x2|y1|y2|transform)="[^"]*"')


def inline_svg(svg: bytes, *, name: str, title: str) -> str:
    """The ``<svg>`` element of a file.

    Ids that nothing refers to are removed, the others get ``name`` as a prefix, since the pictures of one page must not
    share ids. Colours of the palette become CSS variables. Coordinates are rounded to a hundredth of a point.

    :param name: unique on the page, of letters, digits and hyphens
    :param title: the text alternative
    """
    text = svg.decode()
    text = text[text.index("<svg") :]
    referred = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))

    def renamed(found: re.Match[str]) -> str:
        return f' id="{name}-{found[1]}"' if found[1] in referred else ""

    text = re.sub(r' id="([^"]+)"', renamed, text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    text = _NUMBERS.sub(lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)
    for _ in range(3):  # groups that are empty once the groups in them are removed
        text = re.sub(r"<g>\s*</g>", "", _REMOVED.sub("", text))
    text = _COLOUR.sub(lambda found: _VARIABLES[found[0]], text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    return f'<svg role="img" aria-label="{escape(title)}" {text[len("<svg ") :].strip()}'
