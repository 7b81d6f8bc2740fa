"""`cozyd worker`, `cozyd jobs`, `cozyd triggers`."""

import time
from typing import Any

import click

from cozyd import jsons
from cozyd.cli.admin import ask, at, is_used
from cozyd.cli.shapes import InstanceGroup
from cozyd.config import Config

LOOKS_EVERY = 0.1


@click.command("worker")
@click.pass_obj
def worker(config: Config) -> None:
    """Run jobs until Ctrl-C, beside processes that serve; they are joined by Redis."""
    from cozyd.server import work

    if not config.redis.url:
        raise click.ClickException("a worker shares the data by Redis: set redis.url. Without it `cozyd serve` runs the jobs")
    work(config)


@click.group(cls=InstanceGroup)
def jobs() -> None:
    """Run, list, cancel and purge jobs."""


@jobs.command("run")
@click.argument("domain")
@click.argument("worker")
@click.argument("message", default="null")
@click.option("--wait", is_flag=True, help="Wait until it is over; exit status 1 when it failed.")
@click.pass_obj
def run(config: Config, domain: str, worker: str, message: str, wait: bool) -> None:
    """Ask WORKER for a job of DOMAIN; MESSAGE is JSON. The job's id is printed."""
    made = ask(config, "POST", at("instances", domain, "jobs"), {"Worker": worker, "Message": message})["data"]
    click.echo(made["id"])
    if not wait:
        return
    if not is_used(config):
        raise click.ClickException("no server runs that would do it; it is done when one starts")
    attributes = _ended(config, domain, made["id"])
    if attributes["state"] != "done":
        raise click.ClickException(str(attributes.get("error")))


def _ended(config: Config, domain: str, id: str) -> Any:
    """The job, once it is over."""
    while True:
        attributes = ask(config, "GET", at("instances", domain, "jobs", id))["data"]["attributes"]
        if attributes["state"] in ("done", "errored"):
            return attributes
        time.sleep(LOOKS_EVERY)


@jobs.command("list")
@click.argument("domain")
@click.option("--worker", help="Of this worker alone.")
@click.option("--state", help="In these states in place of queued and running: queued,running,done,errored.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_jobs(config: Config, domain: str, worker: str | None, state: str | None, as_json: bool) -> None:
    """List the jobs of DOMAIN that are queued or running, or the last hundred of other states with their errors."""
    asked = {"Worker": worker, "State": state}
    found = [one["attributes"] for one in ask(config, "GET", at("instances", domain, "jobs"), asked)["data"]]
    if as_json:
        click.echo(jsons.dump(found))
        return
    for one in found:
        click.echo(f"{one['_id']}  {one['worker']:16} {one['state']:8} {one['queued_at']}  {one.get('error', '')}".rstrip())


@jobs.command("show")
@click.argument("domain")
@click.argument("id")
@click.pass_obj
def show(config: Config, domain: str, id: str) -> None:
    """Show the job ID of DOMAIN as JSON: its message, when it was begun and ended, its error."""
    click.echo(jsons.dump(ask(config, "GET", at("instances", domain, "jobs", id))["data"]["attributes"]))


@jobs.command("cancel")
@click.argument("domain")
@click.argument("id")
@click.pass_obj
def cancel(config: Config, domain: str, id: str) -> None:
    """End the job ID of DOMAIN; what it does already may still happen."""
    attributes = ask(config, "DELETE", at("instances", domain, "jobs", id))["data"]["attributes"]
    click.echo(f"It is {attributes['state']}.")


@jobs.command("purge-old-jobs")
@click.argument("domain")
@click.option("--duration", help="Older than this: 3W, 2M. Two weeks when not said.")
@click.option("--workers", help="Of these workers alone, with commas.")
@click.pass_obj
def purge(config: Config, domain: str, duration: str | None, workers: str | None) -> None:
    """Remove old jobs of DOMAIN that are over; the newest 50 of each worker and state stay."""
    answer = ask(config, "POST", at("instances", domain, "jobs", "purge"), {"Duration": duration, "Workers": workers})
    click.echo(f"{answer['meta']['deleted']} jobs are removed.")


@click.group(cls=InstanceGroup)
def triggers() -> None:
    """List, launch and remove triggers."""


@triggers.command("list")
@click.argument("domain")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_triggers(config: Config, domain: str, as_json: bool) -> None:
    """List the triggers of DOMAIN."""
    found = [one["attributes"] for one in ask(config, "GET", at("instances", domain, "triggers"))["data"]]
    if as_json:
        click.echo(jsons.dump(found))
        return
    for one in found:
        state = one["current_state"]
        status, last = (state["status"], state["last_execution"]) if "last_execution" in state else ("-", "never")
        click.echo(f"{one['_id']}  {one['type']:9} {one['arguments']:24} {one['worker']:12} {status:8} {last}")


@triggers.command("launch")
@click.argument("domain")
@click.argument("id")
@click.pass_obj
def launch(config: Config, domain: str, id: str) -> None:
    """Make the job of the trigger ID now; the job's id is printed."""
    click.echo(ask(config, "POST", at("instances", domain, "triggers", id, "launch"))["data"]["id"])


@triggers.command("remove")
@click.argument("domain")
@click.argument("id")
@click.pass_obj
def remove(config: Config, domain: str, id: str) -> None:
    """Delete the trigger ID of DOMAIN."""
    ask(config, "DELETE", at("instances", domain, "triggers", id))
    click.echo("It is deleted.")
