"""What a person sees at the first start: one screen with all she needs."""

import secrets

import click

from cozyd.stack import Stack

_WORDS = (
    "amber apple aspen atlas birch bloom brook cedar chalk cloud coral crane delta drift ember fable falcon fern flint frost "
    "garnet glade grove harbor hazel heron indigo iris ivory jade juniper kelp lagoon larch lemon lilac linden lotus lunar "
    "maple marble meadow mint moss nectar nova oak oasis olive onyx opal orbit otter pearl pebble pine plume poppy quartz "
    "quill raven reed ridge river robin rowan sable sage sierra silver slate solar spruce stone summit sunny swift tango "
    "terra thistle tide topaz tulip velvet violet walnut willow wren zephyr "
).split()


def passphrase() -> str:
    """Six words, about 40 bits, behind argon2id and a rate limit; easy to type once."""
    return "-".join(secrets.choice(_WORDS) for _ in range(6))


def first_run(domain: str, stack: Stack) -> None:
    """Make the first instance of an empty data folder, and print the screen; with instances there, just say where they are.

    :param domain: host and port; `localhost` with that port becomes its alias.
    """
    known = [instance.domain for instance in stack.instances()]
    if known:
        click.echo("Serving " + ", ".join(f"{stack.config.server.scheme}://{name}" for name in known))
        return
    secret = passphrase()
    port = domain.rpartition(":")[2]
    alias = f"localhost:{port}" if ":" in domain else "localhost"
    instance = stack.create(domain, passphrase=secret, aliases=[alias])
    device, password = instance.auth.add_device("first device", ("contacts", "calendars", "files"), False)
    click.echo(screen(domain, alias, stack.config.server.scheme, secret, device.name, password))


def screen(domain: str, alias: str, scheme: str, secret: str, device: str, password: str) -> str:
    """The text of the screen."""
    base = f"{scheme}://{alias}"
    return f"""
  Your cloud is ready.

    Web                 {scheme}://{domain}
    Passphrase          {secret}

  For phones, calendars and file managers (any user name):
    Password            {password}      ({device}: contacts, calendars, files)
    CalDAV, CardDAV     {base}/sync/dav/
    WebDAV              {base}/sync/files/

  Try it:
    curl -u me:{password} {base}/sync/files/ -X PROPFIND -H 'Depth: 1'

    rclone config create cozy webdav url={base}/sync/files/ vendor=other user=me pass={password} --obscure
    rclone copy ~/Pictures cozy:Photos -P

    cat > ~/.config/vdirsyncer/config <<'END'
    [general]
    status_path = "~/.local/share/vdirsyncer/"
    [pair contacts]
    a = "cloud"
    b = "here"
    collections = ["from a"]
    [storage cloud]
    type = "carddav"
    url = "{base}/sync/dav/"
    username = "me"
    password = "{password}"
    [storage here]
    type = "filesystem"
    path = "~/.contacts/"
    fileext = ".vcf"
    END
    vdirsyncer discover && vdirsyncer sync

  Passphrase and password are shown only now. Stop the server with Ctrl-C, start it again with the same command.
"""
