"""A real IMAP server, Dovecot, over a folder of its own."""

import imaplib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.support.mail import certify
from tests.support.serving import eventually, free_port

CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/mail.pem
ssl_key = <{folder}/mail.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{folder}/mail/%u
mail_plugins =
mailbox_list_index = no
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={folder}/home/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {secure_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
"""


class Dovecot:
    """A running server; every user exists, with the password `secret`."""

    def __init__(self) -> None:
        self.port, self.secure_port = free_port(), free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="cozyd-dovecot-"))

    @property
    def certificate(self) -> Path:
        """Of its TLS, signed by itself."""
        return self.folder / "mail.pem"

    def __enter__(self) -> Self:
        self.folder.chmod(0o755)
        for name in ("mail", "home"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, 65534, 65534)
        certify(self.certificate)
        (self.folder / "dovecot.conf").write_text(CONFIG.format(folder=self.folder, port=self.port, secure_port=self.secure_port))
        self._process = subprocess.Popen(["dovecot", "-F", "-c", str(self.folder / "dovecot.conf")], start_new_session=True)
        eventually(self._answers, within=20)
        return self

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            self.client("probe").logout()
        except OSError:
            return False
        return True

    def client(self, user: str) -> imaplib.IMAP4:
        """A connection of a user."""
        made = imaplib.IMAP4("127.0.0.1", self.port, timeout=10)
        made.login(user, "secret")
        return made

    def post(self, user: str, *mails: bytes, folder: str = "INBOX") -> None:
        """Put mails into a folder."""
        client = self.client(user)
        client.create(folder)
        for mail in mails:
            assert client.append(folder, "", "", mail)[0] == "OK"
        client.logout()

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
