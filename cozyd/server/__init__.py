"""The composition root: `serve(config)` joins stack, services, DAV mounts and the HTTP server."""

import contextlib
import gc
import logging
import resource
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType

import workers
from blueprints import create_app
from blueprints.admin import create_admin_app
from cozyd import neighbours, telemetry
from cozyd.config import Config
from cozyd.files.spool import Spool
from cozyd.server.http import Chore, Limits, Listener, Server
from cozyd.server.operator import Guarded, key_of
from cozyd.server.wsgi import Front
from cozyd.stack import Stack
from dav import mounts

log = logging.getLogger("cozyd.server")

NEW_OBJECTS = 20_000
"""After how many the collector looks for rings: a list of 5,000 files makes some ten thousand, none of them in one, and Python's own 700
cost it a third of its time.
"""
DESCRIPTORS_BESIDE = 512
"""Files that are open beside connections: databases, contents, temporary files."""


def build(stack: Stack) -> Server:
    """The server over a stack: the public listener, the admin's socket file in the data folder, its port if it has one.

    Where several processes share the folder there is no such file: a command opens it beside them.
    """
    config = stack.config
    front = Front(stack, create_app(stack).wsgi_app, mounts(), config.limits)
    listeners = [Listener(front, front, tcp=(config.server.host, config.server.port))]
    operators = create_admin_app(stack).wsgi_app
    if not stack.shared:
        listeners.append(Listener(operators, unix=config.storage.admin_socket))
    if config.server.admin_port:
        guarded = Guarded(operators, key_of(config.storage.path))
        listeners.append(Listener(guarded, tcp=(config.server.admin_host, config.server.admin_port)))
    return Server(
        listeners,
        hub=stack.hub,
        spool=partial(Spool, stack.blobs.temporary),
        threads=config.server.threads,
        limits=Limits(config.server.head_timeout, config.server.body_timeout, _connections(config.server.connections)),
        trusted_proxy=config.server.trusted_proxy,
        chores=[Chore(stack.collect_uploads, every=600), Chore(stack.collect_apps, every=86_400)],
    )


def _opened(config: Config) -> Stack:
    """The stack, with those who share told of each other's changes."""
    stack = Stack.open(config, workers.TABLE)
    stack.drivers.pusher.concerned = partial(neighbours.concerned, stack.locate)
    return stack


def _connections(wanted: int) -> int:
    """As many connections as wanted, or as descriptors are allowed to this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    room = wanted if soft == resource.RLIM_INFINITY else max(10, soft - DESCRIPTORS_BESIDE)
    if room < wanted:
        log.warning("only %d connections at once: the limit of open files is %d", room, soft)
    return min(wanted, room)


def serve(config: Config, *, ready: Callable[[Stack], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    :param ready: called once everything listens, before the first request.
    :raises Locked: another process has the data folder.
    """
    telemetry.set_up(config.log.level, config.log.format)
    stack = _opened(config)
    try:
        server = build(stack)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, partial(_stop, server, stack))
        if ready is not None:
            ready(stack)
        workers.attach(stack)
        stack.start(workers.run, here=config.jobs.in_server == "yes")
        gc.freeze()  # what is there by now stays: a listing of thousands need not make the collector look through it
        gc.set_threshold(NEW_OBJECTS)
        log.info("listening on http://%s:%s", config.server.host, server.port)
        server.run()
    finally:
        stack.close()


def work(config: Config) -> None:
    """Run jobs until SIGTERM or SIGINT, beside the processes that serve.

    :raises Locked: another process has the data folder for itself.
    """
    telemetry.set_up(config.log.level, config.log.format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    stack = _opened(config)
    try:
        workers.attach(stack)
        stack.start(workers.run)
        log.info("waiting for jobs")
        stop.wait()
    finally:
        stack.close()


def _stop(server: Server, stack: Stack, _number: int, _frame: FrameType | None) -> None:
    server.stop()
    threading.Thread(target=stack.rest, name="stop").start()  # it takes locks that the interrupted code may hold
