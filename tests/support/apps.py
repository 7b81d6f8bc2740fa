"""Small apps for tests: folders and archives of them."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INDEX = """<!doctype html>
<html lang="{{.Locale}}"><head><meta charset="utf-8"><title>{{.AppName}}</title>
{{.CozyFonts}}{{.ThemeCSS}}{{.Favicon}}
<script src="/app.0123456789abcdef.js" defer></script>
</head><body><main id="root" role="application" data-cozy="{{.CozyData}}" data-token="{{.Token}}"></main></body></html>
"""
SCRIPT = "document.title = 'ran'; // " + "x" * 2000


def manifest(**changes: Any) -> dict[str, Any]:
    """A manifest, with changes; a key whose value is None goes."""
    given = {
        "name": "Tiny",
        "slug": "tiny",
        "editor": "Us",
        "type": "webapp",
        "version": "1.0.0",
        "icon": "icon.svg",
        "own_key": {"kept": True},
        "routes": {
            "/": {"folder": "/", "index": "index.html", "public": False},
            "/public": {"folder": "/public", "index": "index.html", "public": True},
        },
        "permissions": {"files": {"type": "io.cozy.files"}},
        "locales": {"fr": {"name": "Petit"}},
    } | changes
    return {name: value for name, value in given.items() if value is not None}


def files(**changes: Any) -> dict[str, bytes]:
    """What a small app consists of."""
    return {
        "manifest.webapp": json.dumps(manifest(**changes)).encode(),
        "index.html": INDEX.encode(),
        "app.0123456789abcdef.js": SCRIPT.encode(),
        "plain.css": b"body { margin: 0 } " + b" " * 1000,
        "icon.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "data/numbers.bin": bytes(range(256)),
        "public/index.html": b'<p data-token="{{.Token}}">public</p>',
        "public/page.html": b"<p>page</p>",
    }


def folder(path: Path, content: Mapping[str, bytes] | None = None, **changes: Any) -> Path:
    """Write an app to a folder."""
    for name, data in (content or files(**changes)).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def archive(content: Mapping[str, bytes] | None = None, *, prefix: str = "", mode: str = "w:gz", **changes: Any) -> bytes:
    """An app as a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in (content or files(**changes)).items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()
