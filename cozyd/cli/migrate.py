"""`cozyd migrate`: an instance moves from one driver to another."""

import sys
from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import at, follow
from cozyd.config import Config


@click.group("migrate")
def migrate() -> None:
    """Move an instance to another kind of store."""


@migrate.command("documents")
@click.argument("domain")
@click.option("--to", required=True, type=click.Choice(["couchdb", "sqlite"]), help="Where the documents are to be.")
@click.option("--url", help="CouchDB's address; without, that of storage.documents.")
@click.option("--json", "as_json", is_flag=True, help="Print progress and result as lines of JSON.")
@click.pass_obj
def documents(config: Config, domain: str, to: str, url: str | None, as_json: bool) -> None:
    """Copy the documents of DOMAIN to the other store, and prove that both hold the same.

    The instance goes on where it was until storage.documents is changed. Run again, only what is new is copied.
    """
    follow(config, "POST", at("instances", domain, "documents"), {"To": to, "Url": url}, tell_program if as_json else tell)


def tell_program(step: dict[str, Any]) -> None:
    """A step for programs."""
    click.echo(jsons.dump(step))


def tell(step: dict[str, Any]) -> None:
    """A step for people: a line that is rewritten on a terminal; else only the end."""
    if step["step"] != "done":
        if sys.stderr.isatty():
            click.echo(f"\r\033[K{step['step']} {step['doctype']}: {step['done']}", nl=False, err=True)
        return
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    click.echo(f"{step['documents']} documents of {step['doctypes']} doctypes, {step['revisions']} revisions, {step['deleted']} deletions,")
    click.echo(f"{step['private']} with private data, {step['locals']} local: equal in both stores (SHA-256 {step['sha256'][:16]}).")
    click.echo(f'To use them: storage.documents = "{step["documents_at"]}", then start the server again.')
