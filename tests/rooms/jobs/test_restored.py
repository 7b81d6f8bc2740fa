"""A backup that is put in a tenant's place while its jobs run: its jobs and triggers are those of the backup, at once."""

import threading
from pathlib import Path

from cozyd.jobs.triggers import NewTrigger
from tests.support.serving import eventually
from tests.support.workshop import Workshop


def test_open_jobs_of_a_backup_are_done_but_those_that_must_not_happen_twice(tmp_path: Path):
    with Workshop(tmp_path / "data") as shop:
        alice = shop.stack.create("alice.example")
        record = {name: value for name, value in alice.doc.items() if name not in ("_id", "_rev")}
        note, once = alice.jobs.push("note", "again"), alice.jobs.push("once", "mail")
        trigger = alice.jobs.triggers.create(NewTrigger("@event", "io.cozy.todos", worker="note", message="todo"))
        shop.stack.documents.backup(alice.prefix, str(tmp_path / "backup"))
        shop.gates["mail"] = threading.Event()
        shop.gates["mail"].set()
        shop.start()
        eventually(lambda: shop.done == {"again": 1, "mail": 1})
        alice.jobs.triggers.delete(trigger.id)
        later = alice.jobs.push("note", "later")
        eventually(lambda: shop.done["later"] == 1)
        again = shop.stack.reinstate(record, tmp_path / "backup")
        eventually(lambda: again.jobs.get(note.id).state == "done")
        assert shop.done == {"again": 2, "mail": 1, "later": 1}
        assert again.jobs.get(once.id).doc["error"].startswith("The job was open in a backup")
        assert [one.id for one in again.jobs.triggers.all()] == [trigger.id]
        assert later.id not in [job.id for job in again.jobs.open()]
        again.docs.put("io.cozy.todos", {})
        eventually(lambda: shop.done["todo"] == 1)
