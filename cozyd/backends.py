"""Which driver of each backend family the configuration chooses. Drivers of services beside are imported where one is chosen:
their libraries cost memory that only a farm needs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cozyd import doctypes
from cozyd.cache import Cache, LocalCache
from cozyd.config import Config, ConfigError, secret_of
from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.store import DocumentBackend
from cozyd.errors import Unavailable
from cozyd.files.blobs import LocalBlobs
from cozyd.jobs.broker import Broker, LocalBroker
from cozyd.locks import LocalLocks, Locks
from cozyd.naclbox import NaclBoxes, read_key
from cozyd.realtime import Hub, LocalHub
from cozyd.webpush import VapidKeys

if TYPE_CHECKING:
    from cozyd.files.s3 import S3Blobs
    from cozyd.files.swift import SwiftBlobs
    from cozyd.redis import RedisLink

SERVED_BESIDE = 2
"""How many threads are never given to a file store that is far away, so that it cannot take them all by hanging."""


def open_documents(config: Config, locks: Locks, address: str) -> DocumentBackend:
    """The document store of an address.

    :raises ConfigError: its password file cannot be used.
    :raises Unavailable: its service is away, too old, or refuses what is needed; the text says what to do.
    """
    if address == "sqlite:":
        folder, shared = config.storage.path / "documents", bool(config.redis.url)
        return SqliteBackend(folder, doctypes.PROJECTIONS, lenient=doctypes.LENIENT, shared=shared)
    from cozyd.documents.couchdb import CouchBackend

    password = secret_of("storage.documents_password_file", config.storage.documents_password_file)
    total = max(1, config.server.threads - SERVED_BESIDE)
    made = CouchBackend(address, doctypes.PROJECTIONS, password=password, lenient=doctypes.LENIENT, locks=locks, total=total)
    try:
        made.probe()
    except Unavailable:
        made.close()
        raise
    return made


def open_blobs(config: Config, folder: Path) -> "LocalBlobs | SwiftBlobs | S3Blobs":
    """The blob store that is configured.

    :param folder: for its contents, or its temporary files.
    :raises ConfigError: its address or its password file cannot be used.
    """
    if config.storage.blobs == "file:":
        return LocalBlobs(folder)
    password = secret_of("storage.blobs_password_file", config.storage.blobs_password_file)
    parallel = config.server.threads - SERVED_BESIDE
    if config.storage.blobs.startswith("s3"):
        from cozyd.files.s3 import S3Blobs

        return S3Blobs(config.storage.blobs, folder / "tmp", password=password, parallel=parallel)
    from cozyd.files.swift import SwiftBlobs

    return SwiftBlobs(config.storage.blobs, folder / "tmp", password=password, parallel=parallel)


def open_boxes(config: Config) -> NaclBoxes | None:
    """Boxes of a cozy-stack whose key files the operator gave.

    :raises ConfigError: only one is given, or one cannot be used.
    """
    files = {"encryptor_key_file": config.accounts.encryptor_key_file, "decryptor_key_file": config.accounts.decryptor_key_file}
    if not any(files.values()):
        return None
    if not all(files.values()):
        raise ConfigError("accounts: encryptor_key_file and decryptor_key_file go together")
    return NaclBoxes(*(read_key(f"accounts.{name}", file) for name, file in files.items()))


def vapid_keys(config: Config) -> VapidKeys:
    """The keys of push messages: those the operator names, else the data folder's."""
    if config.push.key_file:
        return VapidKeys(Path(config.push.key_file).expanduser(), given=True)
    return VapidKeys(config.storage.path / "vapid.pem")


def open_redis(url: str) -> "RedisLink | None":
    """The way to Redis, if one is configured."""
    if not url:
        return None
    from cozyd.redis import RedisLink

    return RedisLink(url)


def joined(link: "RedisLink | None") -> tuple[Hub, Locks, Cache]:
    """What joins processes: over Redis, or within this one."""
    if link is None:
        return LocalHub(), LocalLocks(), LocalCache()
    from cozyd.cache.redis import RedisCache
    from cozyd.locks.redis import RedisLocks
    from cozyd.realtime.redis import RedisHub

    return RedisHub(link), RedisLocks(link), RedisCache(link)


def open_broker(link: "RedisLink | None", lost: Callable[[], None]) -> Broker:
    """What brings hints of jobs to threads: of this process, or of all.

    :param lost: is told when hints may be lost.
    """
    if link is None:
        return LocalBroker()
    from cozyd.jobs.rq import RqBroker

    return RqBroker(link, lost)
