"""`cozyd search` and `cozyd doctypes`: the index of words, and what documents look like."""

from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import at, follow
from cozyd.config import Config
from cozyd.descriptions import described, description
from cozyd.descriptions.models import python_models, typescript_models
from cozyd.descriptions.page import page
from cozyd.errors import NotFound


@click.group("search")
def search() -> None:
    """Full text over documents and contents."""


@search.command("rebuild")
@click.argument("domain")
@click.pass_obj
def rebuild(config: Config, domain: str) -> None:
    """Make the index of DOMAIN anew, while it is used."""

    def tell(step: dict[str, Any]) -> None:
        if step.get("step") == "done":
            click.echo(f"{domain}: {sum(step['documents'].values()):,} documents, {step['contents']:,} contents are read by jobs")

    follow(config, "POST", at("instances", domain, "search", "rebuild"), {}, tell)


@click.group("doctypes")
def doctypes() -> None:
    """What documents look like (docs/doctypes/README.md)."""


@doctypes.command("list")
def list_command() -> None:
    """Every doctype that has a description."""
    for name in described():
        click.echo(f"{name:32} {description(name).about.splitlines()[0]}")


@doctypes.command("show")
@click.argument("doctype")
@click.option("--schema", is_flag=True, help="As JSON Schema.")
def show(doctype: str, schema: bool) -> None:
    """What documents of DOCTYPE look like."""
    try:
        known = description(doctype)
    except NotFound as error:
        raise click.ClickException(error.detail) from error
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": known.name, "description": known.about}
    click.echo(jsons.dump(head | known.schema).decode() if schema else page(known))


@doctypes.command("models")
@click.option("--language", type=click.Choice(["typescript", "python"]), default="typescript")
def models(language: str) -> None:
    """Types of all doctypes for programs, on standard output."""
    click.echo(typescript_models() if language == "typescript" else python_models(), nl=False)


@doctypes.command("check")
@click.argument("domain")
@click.argument("names", nargs=-1)
@click.pass_obj
def check(config: Config, domain: str, names: tuple[str, ...]) -> None:
    """Compare the documents of DOMAIN (of some doctypes) with their descriptions. Exit status 1 when some differ."""
    wrong = 0

    def tell(step: dict[str, Any]) -> None:
        nonlocal wrong
        if step.get("step") == "done":
            wrong = step["wrong"]
            click.echo(f"{domain}: {step['documents']:,} documents, {wrong:,} are not as described")
        elif "problem" in step:
            click.echo(f"{domain}: {step['doctype']} {step['id']} {step['path']}: {step['problem']}")

    follow(config, "GET", at("instances", domain, "doctypes", "check"), {"Doctypes": ",".join(names)}, tell)
    raise SystemExit(1 if wrong else 0)
