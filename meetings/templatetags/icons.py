"""`{% icon "microphone" %}`: one pictogram of Font Awesome Free as inline SVG."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_SHAPE = re.compile(r"<path [^>]*/>(?=</svg>)")
_NAME = re.compile(r"[a-z0-9-]+")
# The licence's attribution, which the removed comments carried, stands in the page's footer and in the README.


@cache
def icon_svg(name: str, family: str) -> str:
    """The file's `<svg>` element without its comment.

    Raises ValueError for a name that the installed wheel does not have.
    """
    if not _NAME.fullmatch(name) or family not in ("solid", "regular", "brands"):
        raise ValueError(f"not the name of an icon: {family}/{name}")
    file = resources.files("fontawesomefree") / "static/fontawesomefree/svgs" / family / f"{name}.svg"
    try:
        svg = file.read_text()
    except FileNotFoundError:
        raise ValueError(f"Font Awesome Free has no icon {family}/{name}") from None
    svg = _COMMENT.sub("", svg).replace(' xmlns="http://www.w3.org/2000/svg"', "")  # HTML knows without being told
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" fill="currentColor" ', 1)


@cache
def _svg_again(name: str, family: str) -> str:
    """The same by reference to the first one in the page: a tenth of its weight."""
    return _SHAPE.sub(f'<use href="#icon-of-{name}"/>', icon_svg(name, family))


@cache
def _svg_first(name: str, family: str) -> str:
    return icon_svg(name, family).replace("<path ", f'<path id="icon-of-{name}" ', 1)


@register.simple_tag(takes_context=True)
def icons_once(context: template.Context) -> str:
    """From here on each icon of this page is drawn once and otherwise referred to."""
    request = context.get("request")
    if request is not None:
        request.icons_drawn = set()
    return ""


@register.simple_tag(takes_context=True)
def icon(context: template.Context, name: str, family: str = "solid", css: str = "") -> SafeString:
    """Decorative: the name for people belongs to the control around it."""
    drawn = getattr(context.get("request"), "icons_drawn", None)
    if drawn is None:
        svg = icon_svg(name, family)
    elif name in drawn:
        svg = _svg_again(name, family)
    else:
        drawn.add(name)
        svg = _svg_first(name, family)
    return format_html('<span class="{}">{}</span>', f"icon {css}".strip(), mark_safe(svg))
