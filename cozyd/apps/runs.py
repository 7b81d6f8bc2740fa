"""Installs on their way: each on a thread of its own small pool, watched by requests that hold no thread meanwhile."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cozyd.errors import CozyError

log = logging.getLogger("cozyd.apps")

AT_ONCE = 3
"""More would finish no sooner, as an install is mostly work of the processor, and keep every other request waiting."""
KEPT = 1000

Tell = Callable[[Mapping[str, Any]], None]
"""Is told the document as it would be: `state` says how far things are."""


class Run:
    """One install or update.

    :ivar states: documents, in the order they were told.
    :ivar error: why it failed.
    :ivar done: whether it has ended.
    :ivar said: how many of the states whoever watches was told.
    :ivar silent_until: when whoever watches has to hear something again, in monotonic seconds.
    """

    def __init__(self) -> None:
        self.states: list[Mapping[str, Any]] = []
        self.error: CozyError | None = None
        self.done = False
        self.said = 0
        self.silent_until = 0.0

    def perform(self, work: Callable[[Tell], Any], after: Callable[[], None]) -> None:
        """Do it.

        :param after: called whenever something is new.
        """

        def tell(state: Mapping[str, Any]) -> None:
            self.states.append(state)
            after()

        try:
            work(tell)
        except CozyError as error:
            self.error = error
        except Exception:
            log.exception("an app could not be installed")
            self.error = CozyError("An unexpected error occurred")
        finally:
            self.done = True
            after()


class Runs:
    """Those of this process, by the request that began each."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="apps")
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def get(self, key: str) -> Run | None:
        """The run a request began; None: it has not."""
        with self._lock:
            return self._runs.get(key)

    def start(self, key: str, work: Callable[[Tell], Any], after: Callable[[], None]) -> Run:
        """Begin one; see `Run.perform`."""
        run = Run()
        with self._lock:
            self._runs[key] = run
            while len(self._runs) > KEPT:
                self._runs.popitem(last=False)
        self._pool.submit(run.perform, work, after)
        return run

    def forget(self, key: str) -> None:
        """Its request was answered."""
        with self._lock:
            self._runs.pop(key, None)

    def rest(self, seconds: float) -> bool:
        """Wait, inside of a run; whether the process stops meanwhile."""
        return self._closing.wait(seconds)

    def close(self) -> None:
        """Wait for what runs; what waits is dropped."""
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
