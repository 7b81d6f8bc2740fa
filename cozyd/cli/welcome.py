"""What a person sees at the first start: one screen with all she needs."""

import secrets
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cozyd.stack import Stack

_WORDS = (
    "amber apple aspen atlas birch bloom brook cedar chalk cloud coral crane delta drift ember fable falcon fern flint frost "
    "garnet glade grove harbor hazel heron indigo iris ivory jade juniper kelp lagoon larch lemon lilac linden lotus lunar "
    "maple marble meadow mint moss nectar nova oak oasis olive onyx opal orbit otter pearl pebble pine plume poppy quartz "
    "quill raven reed ridge river robin rowan sable sage sierra silver slate solar spruce stone summit sunny swift tango "
    "terra thistle tide topaz tulip velvet violet walnut willow wren zephyr "
).split()


_UNSAID = {"http": 80, "https": 443}
"""Ports that browsers leave out of an address."""


def passphrase() -> str:
    """Six words, about 40 bits, behind argon2id and a rate limit; easy to type once."""
    return "-".join(secrets.choice(_WORDS) for _ in range(6))


def first_run(domain: str, stack: "Stack") -> None:
    """Make the first instance of an empty data folder, and print the screen; with instances there, just say where they are.

    :param domain: host and port; a bare name under `localhost` gets the server's port. `localhost` with that port becomes its alias.
    """
    known = [instance.domain for instance in stack.instances()]
    scheme = stack.config.server.scheme
    if known:
        click.echo("Serving " + ", ".join(f"{scheme}://{name}" for name in known))
        return
    port = stack.config.server.port
    if domain.endswith(".localhost") and port != _UNSAID[scheme]:
        domain = f"{domain}:{port}"
    secret = passphrase()
    alias = "localhost" + domain.removeprefix(domain.partition(":")[0])
    instance = stack.create(domain, passphrase=secret, aliases=[alias])
    _, password = instance.auth.add_device("first device", ("contacts", "calendars", "files"), False)
    click.echo(screen(f"{scheme}://{domain}", f"{scheme}://{alias}", secret, password))


def screen(web: str, base: str, secret: str, password: str) -> str:
    """The text of the screen; the commands begin their lines, so that they can be pasted as they are.

    :param web: address for browsers.
    :param base: address that every program resolves.
    """
    dav, files = f"{base}/sync/dav/", f"{base}/sync/files/"
    return f"""
  Your cloud is ready.

    Web               {web}
    Passphrase        {secret}

  For phones, calendars and file managers, with any user name:
    Password          {password}
    CalDAV, CardDAV   {dav}
    WebDAV            {files}

  Try it in another terminal (curl; rclone; vdirsyncer):

curl -sSu me:{password} -T /etc/hosts {files}hosts.txt
curl -sSu me:{password} {files}hosts.txt

rclone config create cozy webdav url={files} vendor=other user=me pass={password} --obscure
rclone copy /etc/hosts cozy:Photos && rclone tree cozy:

mkdir -p ~/.config/vdirsyncer && cat > ~/.config/vdirsyncer/cozy <<'END'
[general]
status_path = "~/.local/share/vdirsyncer/cozy/"
[pair contacts]
a = "cloud"
b = "here"
collections = ["from a"]
[storage cloud]
type = "carddav"
url = "{dav}"
username = "me"
password = "{password}"
[storage here]
type = "filesystem"
path = "~/.contacts/"
fileext = ".vcf"
END
yes | vdirsyncer -c ~/.config/vdirsyncer/cozy discover && vdirsyncer -c ~/.config/vdirsyncer/cozy sync

  Passphrase and password are shown only now. Stop with Ctrl-C, start again with the same command.
"""
