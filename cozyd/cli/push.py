"""`cozyd push`: the keys that push services know the server by."""

import click

from cozyd.cli.admin import ask
from cozyd.config import Config


@click.group("push")
def push() -> None:
    """Messages to devices and browsers."""


@push.command("renew-keys")
@click.option("--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def renew_keys(config: Config, force: bool) -> None:
    """Make new keys: devices that sync are told, browsers subscribe again at their next visit."""
    if not force:
        click.confirm("Who has subscribed with the old keys gets no more messages until she has done so again. Go on?", abort=True)
    done = ask(config, "POST", "/push/keys")
    click.echo(f"{done['told']} subscriptions were told.")
    if done["missed"]:
        click.echo(f"{done['missed']} could not be reached: they end within a week, and are made anew then.")
