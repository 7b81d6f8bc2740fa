"""QR codes as part of a page."""

import io

from markupsafe import Markup


def qr(text: str, title: str) -> Markup:
    """A QR code as SVG without a style of its own.

    :param title: what it is, for who cannot see it.
    """
    import segno

    out = io.BytesIO()
    segno.make(text, error="m").save(
        out, kind="svg", xmldecl=False, svgns=True, border=0, dark="#111", light=None, omitsize=True, title=title
    )
    return Markup(out.getvalue().decode())  # noqa: S704 - segno escapes the title
