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
    "js": "text/javascript",
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
_OF_CLASS: Mapping[str, Sequence[str]] = {
    "files": (DEFAULT_MIME,),
    "shortcut": (SHORTCUT,),
    "pdf": ("application/pdf",),
    "binary": ("application/x-apple-diskimage", "application/x-msdownload"),
    "code": (
        *(f"text/{name}" for name in ("html", "css", "xml", "javascript", "x-c", "x-go", "x-python", "x-ruby")),
        *(f"application/{name}" for name in ("javascript", "js", "x-ruby")),
    ),
    "slide": (
        "application/vnd.ms-powerpoint",
        "application/x-iwork-keynote-sffkey",
        f"{_OPEN}.presentation",
        f"{_OPEN}.graphics",
        f"{_OFFICE}.presentationml.presentation",
    ),
    "spreadsheet": (
        "application/vnd.ms-excel",
        "application/x-iwork-numbers-sffnumbers",
        f"{_OPEN}.spreadsheet",
        f"{_OFFICE}.spreadsheetml.sheet",
    ),
    "text": ("application/msword", "application/x-iwork-pages-sffpages", f"{_OPEN}.text", f"{_OFFICE}.wordprocessingml.document"),
    "zip": tuple(f"application/{name}" for name in ("zip", "gzip", "x-tar", "x-7z-compressed", "x-rar-compressed", "vnd.rar")),
}
"""The reference's table, by the whole type: an EPUB (`application/epub+zip`) is no archive. All types of scripts are one class here."""
_CLASSES: Mapping[str, str] = {mime: name for name, mimes in _OF_CLASS.items() for mime in mimes}


def guess_mime(name: str) -> str:
    """A content type from the extension."""
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    return _MORE.get(extension) or _TYPES.guess_type(f"x.{extension}")[0] or DEFAULT_MIME


def class_of(mime: str) -> str:
    """The class a content type belongs to: one of the table, else what stands before its slash."""
    return _CLASSES.get(mime) or mime.partition("/")[0]
