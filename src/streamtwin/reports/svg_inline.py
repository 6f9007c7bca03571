"""How does a figure become part of a page: unique ids, the page's own ink, no outside names?"""

import re
import zlib

from markupsafe import Markup

from streamtwin.reports.figures.drawing import FAINT, INK

_OUTSIDE = re.compile(
    r"^.*?(?=<svg)|<metadata>.*?</metadata>|\s+xmlns(?::\w+)?=\"[^\"]*\"", re.DOTALL
)
_PATH = re.compile(r" d=\"([^\"]*)\"")
_DIGITS = re.compile(r"(\.\d\d)\d+")
_IDS = re.compile(r"(\bid=\"|xlink:href=\"#|url\(#)")


def inline_svg(svg: str, alternative: str) -> Markup:
    """Make *svg* a part of a page, read out as *alternative*.

    Trusted: our own drawing, whose texts the drawing library has escaped.
    """
    bare = _PATH.sub(_compact, _OUTSIDE.sub("", svg))
    own_ids = _IDS.sub(rf"\g<1>f{zlib.crc32(bare.encode()):08x}-", bare)
    themed = own_ids.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    label = Markup('role="img" aria-label="{}"').format(alternative)
    plain = themed.replace("xlink:href", "href").replace("<svg", f"<svg {label}", 1)
    return Markup(plain)  # noqa: S704


def _compact(path: re.Match[str]) -> str:
    """Drop what the eye cannot see of a path: a hundredth of a point suffices."""
    short = " ".join(_DIGITS.sub(r"\g<1>", path[1]).split())
    return f' d="{short}"'
