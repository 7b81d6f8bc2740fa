"""The `cozyd` command in this process: arguments and environment in, exit status and texts out."""

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from cozyd.cli import main


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.out.splitlines()[-1]


class Command:
    """The command over one data folder; nothing of the caller's configuration is seen.

    :param folder: the data folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, **environ: str) -> Done:
        """Run it."""
        given = _without_ours(os.environ) | {"COZYD_STORAGE_PATH": str(self.folder), "HOME": str(self.folder.parent)} | environ
        out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
        status = 0
        with patch.dict(os.environ, given, clear=True), redirect_stdout(out), redirect_stderr(err):
            try:
                main(arguments)
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return Done(status, _text(out), _text(err))


def _without_ours(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith("COZYD_")}


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
