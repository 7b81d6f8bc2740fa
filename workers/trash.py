"""`clean-old-trashed`: empties the trash of what is in it for long (docs/workers.md, section 6)."""

from datetime import timedelta

from cozyd.files.tree import TRASH_DIR, node_of, read_time
from cozyd.instance import Instance
from cozyd.jobs.job import Job

PAGE = 500


def run(instance: Instance, _job: Job) -> None:
    """Remove what is in the trash longer than the configuration says."""
    days = instance.trash_days
    if not days:
        return
    limit = instance.now() - timedelta(days=days)
    files = instance.files
    rows = files.rows(files.dir(TRASH_DIR), limit=PAGE, docs=True)
    while rows:
        for node in [node_of(row.stored) for row in rows if row.stored is not None]:
            trashed = (node.stored.doc.get("cozyMetadata") or {}).get("trashedAt") or node.stored.doc.get("updated_at", "")
            if read_time(str(trashed)) < limit:
                files.erase(node)
        rows = files.rows(files.dir(TRASH_DIR), after=(rows[-1].key, rows[-1].ref.id), limit=PAGE, docs=True)
