"""`Together`: writes of several threads in one commit, as the disk is what each of them would wait for."""

import threading
from collections.abc import Callable, Sequence

from cozyd.documents.store import Batch, Change, Write
from cozyd.errors import CozyError


class _Place:
    """A write on its way, and what became of it."""

    __slots__ = ("answer", "write")

    def __init__(self, write: Write) -> None:
        self.write = write
        self.answer: Change | CozyError | None = None


class Together:
    """Who comes while a commit is under way waits for it, and goes along with the next; each write stands for itself.

    :param commit_each: writes a batch.
    """

    def __init__(self, commit_each: Callable[[Batch], Sequence[Change | CozyError]]) -> None:
        self._commit_each = commit_each
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Place] = []

    def write(self, write: Write) -> Change:
        """Make a write; when this returns it is on disk.

        :raises CozyError: as `commit` of it alone.
        """
        place = _Place(write)
        with self._lock:
            self._waiting.append(place)
        with self._turn:
            if place.answer is None:
                self._commit()
        if isinstance(place.answer, Change):
            return place.answer
        raise place.answer or CozyError()

    def _commit(self) -> None:
        """Write what waits, for all who brought it."""
        with self._lock:
            places, self._waiting = self._waiting, []
        answers: Sequence[Change | CozyError] = [CozyError("The write failed unexpectedly")] * len(places)
        try:
            answers = self._commit_each([place.write for place in places])
        except CozyError as error:
            answers = [error] * len(places)
        finally:
            for place, answer in zip(places, answers, strict=False):
                place.answer = answer
