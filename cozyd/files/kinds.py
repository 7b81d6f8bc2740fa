"""Content types and the classes they belong to (pure; docs/http/files.md)."""

import mimetypes
from collections.abc import Mapping, Sequence

NOTE, NOTE_ENDING = "text/vnd.cozy.note+markdown", ".cozy-note"
"""A note: its Markdown, or a tar of that and its images. Whatever type its sender tells, the name says it is one."""
OF_NOTES = ("title", "content", "schema", "version")
"""Members of `metadata` that editors of notes keep there."""
DEFAULT_MIME = "application/octet-stream"
SHORTCUT = "application/internet-shortcut"
_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"
_TYPES = mimetypes.MimeTypes(strict=True)
_MORE: Mapping[str, str] = {
    "7z": "application/x-7z-compressed",
    "apk": "application/vnd.android.package-archive",
    "cozy-note": NOTE,
    "dmg": "application/x-apple-diskimage",
    "docx": f"{_OFFICE}.wordprocessingml.document",
    "epub": "application/epub+zip",
    "exe": "application/x-msdownload",
    "flac": "audio/flac",
    "gz": "application/gzip",
    "heic": "image/heic",
    "heif": "image/heif",
    "ics": "text/calendar",
    "js": "application/javascript",
    "key": "application/x-iwork-keynote-sffkey",
    "m4a": "audio/x-m4a",
    "md": "text/markdown",
    "mkv": "video/x-matroska",
    "numbers": "application/x-iwork-numbers-sffnumbers",
    "odg": f"{_OPEN}.graphics",
    "odp": f"{_OPEN}.presentation",
    "ods": f"{_OPEN}.spreadsheet",
    "odt": f"{_OPEN}.text",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "pages": "application/x-iwork-pages-sffpages",
    "pptx": f"{_OFFICE}.presentationml.presentation",
    "psd": "image/vnd.adobe.photoshop",
    "rar": "application/x-rar-compressed",
    "rtf": "application/rtf",
    "sh": "text/x-sh",
    "tgz": "application/gzip",
    "url": SHORTCUT,
    "vcf": "text/vcard",
    "webm": "video/webm",
    "webp": "image/webp",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    "yaml": "text/yaml",
    "yml": "text/yaml",
}
_CLASS_WORDS: Sequence[tuple[str, Sequence[str]]] = (
    ("pdf", ("application/pdf",)),
    ("shortcut", (SHORTCUT,)),
    ("files", (DEFAULT_MIME,)),
    ("binary", ("diskimage", "msdownload", "x-msdos-program")),
    ("slide", ("presentation", "powerpoint", "keynote", f"{_OPEN}.graphics")),
    ("spreadsheet", ("spreadsheet", "excel", "numbers")),
    ("text", ("msword", "wordprocessingml", "opendocument.text", "x-iwork-pages", "application/rtf")),
    ("zip", ("zip", "x-rar", "vnd.rar", "x-7z", "gzip", "x-tar", "x-bzip")),
)
_CODE = frozenset(f"text/{name}" for name in ("html", "css", "xml", "javascript", "x-c", "x-go", "x-python", "x-ruby")) | {
    "application/javascript",
    "application/js",
    "application/x-ruby",
}


def guess_mime(name: str) -> str:
    """A content type from the extension."""
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    return _MORE.get(extension) or _TYPES.guess_type(f"x.{extension}")[0] or DEFAULT_MIME


def class_of(mime: str) -> str:
    """The class a content type belongs to."""
    if mime.startswith(("image/", "audio/", "video/")):
        return mime.split("/", maxsplit=1)[0]
    if mime in _CODE:
        return "code"
    for name, words in _CLASS_WORDS:
        if any(word in mime for word in words):
            return name
    return mime.split("/", maxsplit=1)[0]
