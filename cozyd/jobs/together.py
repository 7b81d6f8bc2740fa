"""`Together`: writes of several threads in one commit, as the disk is what each of them would wait for.

Threads that do one short job behind the other come back at nearly the same time. Who commits waits a moment for those that the last
commit let go: so all of them go along, and none is in the way of another.
"""

import threading
from collections.abc import Callable, Sequence

from cozyd.documents.store import Batch, Change, Write
from cozyd.errors import CozyError

WAITS = 0.001
"""Seconds that a commit waits at most for those who are about to bring something; who has a longer job is waited for once."""


class _Place:
    """Writes on their way, and what became of them.

    :ivar turn: released when there are answers, or when it is up to this place to commit.
    """

    __slots__ = ("answers", "returns", "turn", "writes")

    def __init__(self, writes: Sequence[Write], *, returns: bool) -> None:
        self.writes = writes
        self.returns = returns
        self.answers: Sequence[Change | CozyError] | None = None
        self.turn = threading.Lock()
        self.turn.acquire()


class Together:
    """Who comes while a commit is under way waits for it, and goes along with the next; each write stands for itself.

    :param commit_each: writes a batch.
    """

    def __init__(self, commit_each: Callable[[Batch], Sequence[Change | CozyError]]) -> None:
        self._commit_each = commit_each
        self._changed = threading.Condition(threading.Lock())
        self._busy = False
        self._waiting: list[_Place] = []
        self._away = 0

    def write(self, write: Write) -> Change:
        """Make a write; when this returns it is on disk.

        :raises CozyError: as `commit` of it alone.
        """
        answer = self.write_each([write])[0]
        if isinstance(answer, CozyError):
            raise answer
        return answer

    def write_each(self, writes: Sequence[Write], *, returns: bool = False, returned: bool = False) -> Sequence[Change | CozyError]:
        """Make some writes in one commit: see `DocumentStore.commit_each`.

        :param returns: the thread will soon bring more. :param returned: it is one of those.
        """
        place = _Place(writes, returns=returns)
        with self._changed:
            self._waiting.append(place)
            waits, self._busy = self._busy, True
            self._away -= returned
            if self._away == 0:
                self._changed.notify()
        if waits:
            place.turn.acquire()
        if place.answers is None:
            self._commit()
        assert place.answers is not None
        return place.answers

    def _commit(self) -> None:
        """Write what waits, for all who brought it; then it is up to one of those who came meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._away <= 0, WAITS)
            places, self._waiting = self._waiting, []
            self._away = sum(place.returns for place in places)
        writes = [write for place in places for write in place.writes]
        answers: Sequence[Change | CozyError] = [CozyError("The write failed unexpectedly")] * len(writes)
        try:
            answers = self._commit_each(writes)
        except CozyError as error:
            answers = [error] * len(writes)
        finally:
            given = iter(answers)
            for place in places:
                place.answers = [next(given) for _ in place.writes]
            with self._changed:
                self._busy = bool(self._waiting)
                following = self._waiting[:1]
            for place in (*places, *following):
                place.turn.release()
