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


@register.simple_tag
def icon(name: str, family: str = "solid", css: str = "") -> SafeString:
    """Decorative: the name for people belongs to the control around it."""
    return format_html('<span class="icon {}">{}</span>', css, mark_safe(icon_svg(name, family)))
