"""Packaging of cozyd: `pip install .` gives the `cozyd` command, `make serve` runs it from the checkout."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithPages(build_py):
    """Copies the pages the server draws into the wheel, where `cozyd.config` looks for them."""

    def run(self) -> None:
        super().run()
        for name in ("pages", "assets", "starter", "apps"):
            shutil.copytree(HERE / "static" / name, Path(self.build_lib) / "cozyd" / "_static" / name, dirs_exist_ok=True)


def _dependencies() -> list[str]:
    lines = (HERE / "requirements.in").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _version() -> str:
    text = (HERE / "cozyd" / "__init__.py").read_text()
    return text.split('__version__ = "')[1].split('"')[0]


setup(
    name="cozyd",
    version=_version(),
    description="A personal cloud server: contacts, calendars, files and any JSON document, for every device",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="AGPL-3.0-or-later",
    python_requires=">=3.11",
    packages=find_packages(include=[name for top in ("cozyd", "blueprints", "dav", "workers") for name in (top, f"{top}.*")]),
    package_data={"cozyd": ["mails/*.html", "mails/words/*.toml", "descriptions/doctypes/*.toml"]},
    install_requires=_dependencies(),
    entry_points={"console_scripts": ["cozyd = cozyd.cli:main"]},
    cmdclass={"build_py": BuildWithPages},
    zip_safe=False,
)
