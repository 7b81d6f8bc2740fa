"""Commits that wait for the writer go together: one transaction and one sync for all of them (docs/documents.md).

Each is undone alone where it is refused. Readers see none of them before all are durable.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from cozyd.documents.sqlite.writing import Transaction
from cozyd.documents.store import Change
from cozyd.errors import Unavailable

Step = Callable[[Transaction, list[Change]], None]
"""What one commit does; what it changed goes into the list."""
Writing = Callable[[], AbstractContextManager[sqlite3.Connection]]
Begin = Callable[[sqlite3.Connection], Transaction]
Undo = Callable[[Transaction], None]


class Commit:
    """One commit that waits."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._turn = threading.Lock()
        self._turn.acquire()
        self.changes: list[Change] = []
        self.done = False
        self.error: Exception | None = None

    def run(self, transaction: Transaction) -> None:
        """Do it, perhaps not for the first time.

        :raises CozyError: it is refused.
        """
        self.changes.clear()
        self._step(transaction, self.changes)

    def wait(self) -> None:
        """Until it is done, or its author is the one to do what waits."""
        self._turn.acquire()

    def wake(self) -> None:
        """End the wait."""
        self._turn.release()


class Together:
    """One tenant's commits. Whoever comes first does them all; those who come meanwhile wait for the next round.

    :param lock: the writer's.
    :param writing: gives the writer in a transaction, which is durable when its block ends, and undone when that raises.
    :param undo: forgets what a transaction that is undone has brought into memory.
    :param tell: is told what each commit changed, once it is durable, the lock being held.
    """

    def __init__(
        self, lock: AbstractContextManager[object], writing: Writing, begin: Begin, undo: Undo, tell: Callable[[Sequence[Change]], None]
    ) -> None:
        self._lock = lock
        self._writing, self._begin, self._undo, self._tell = writing, begin, undo, tell
        self._guard = threading.Lock()
        self._waiting: list[Commit] = []
        self._led = False
        self._leader = 0
        self._begun: list[Transaction] = []

    def do(self, step: Step) -> Sequence[Change]:
        """Do a commit; what it changed.

        :raises CozyError: it was refused, or the database does not answer.
        """
        commit = Commit(step)
        if self._leader == threading.get_ident():  # who is told of changes commits something at once
            with self._lock:
                self._write_all([commit])
        else:
            with self._guard:
                self._waiting.append(commit)
                waits, self._led = self._led, True
            if waits:
                commit.wait()
            if not commit.done:
                self._lead(commit)
        if commit.error is not None:
            raise commit.error
        return commit.changes

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Hold the writer's lock. What the thread commits inside, as one that is told of changes may, it does itself, at once."""
        with self._lock:
            before, self._leader = self._leader, threading.get_ident()
            try:
                yield
            finally:
                self._leader = before

    def _lead(self, own: Commit) -> None:
        """Do what waits, and have one who comes meanwhile do the rest."""
        commits: Sequence[Commit] = ()
        try:
            with self.writer():
                with self._guard:
                    commits, self._waiting = self._waiting, []
                self._write_all(commits)
        finally:
            with self._guard:
                following = self._waiting[0] if self._waiting else None
                self._led = following is not None
            for commit in commits:
                if commit is not own:
                    commit.wake()
            if following is not None:
                following.wake()

    def _write_all(self, commits: Sequence[Commit]) -> None:
        try:
            self._write(commits)
        except Exception as error:  # noqa: BLE001 - each of their threads raises it
            for commit in commits:
                commit.error = commit.error or error
        except BaseException:
            for commit in commits:
                commit.error = Unavailable("The server is being stopped", retry_after=10)
            raise
        finally:
            for commit in commits:
                commit.done = True

    def _write(self, commits: Sequence[Commit]) -> None:
        """Write commits and tell of them: as if they were one, or one by one when one of them is refused.

        :raises Exception: none is written.
        """
        try:
            with self._transaction() as connection:
                self._write_at_once(connection, commits)
        except Exception:
            if len(commits) == 1:
                raise
            with self._transaction() as connection:
                for commit in commits:
                    self._attempt(connection, commit)
        for commit in commits:
            if commit.error is None:
                self._tell(commit.changes)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._begun.clear()
        try:
            with self._writing() as connection:
                yield connection
        except BaseException:
            for transaction in self._begun:
                self._undo(transaction)
            raise

    def _write_at_once(self, connection: sqlite3.Connection, commits: Sequence[Commit]) -> None:
        """Do commits in one go: each counter is written once."""
        transaction = self._begin(connection)
        self._begun.append(transaction)
        for commit in commits:
            commit.run(transaction)
        transaction.finish()

    def _attempt(self, connection: sqlite3.Connection, commit: Commit) -> None:
        """Do one of several commits; one that is refused leaves the others.

        :raises Exception: the database itself failed.
        """
        connection.execute("SAVEPOINT one")
        try:
            self._write_at_once(connection, [commit])
        except Exception as error:
            if isinstance(error, sqlite3.Error) or not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO one")
            self._undo(self._begun.pop())
            commit.error = error
        connection.execute("RELEASE one")
