"""The table of doctypes: what the rooms know about each, and every projection.

A new listing, counter or look-up is one projection here. The functions come from the rooms; this module only joins them.
"""

from collections.abc import Mapping, Sequence

from cozyd.auth.sets import PROJECTIONS as PERMISSION_PROJECTIONS
from cozyd.documents.doctype import Doctype, IndexDefinition
from cozyd.documents.store import Projection, Stored
from cozyd.files.rows import PROJECTIONS as FILES_PROJECTIONS
from cozyd.jobs.job import JOBS
from cozyd.jobs.job import PROJECTIONS as JOB_PROJECTIONS
from cozyd.jobs.trigger import TRIGGERS
from cozyd.notifications import NOTIFICATIONS
from cozyd.notifications import PROJECTIONS as NOTIFICATION_PROJECTIONS
from cozyd.pim import groups, ical, konnectors
from cozyd.pim.record import BOOKS, GROUPS
from cozyd.pim.rows import PROJECTIONS as PIM_PROJECTIONS
from cozyd.pim.rows import follow_up
from cozyd.records import former_domains

INSTANCES = "instances"


def _hosts(stored: Stored) -> Sequence[tuple[tuple[str], str]]:
    """Every host an instance answers to, its former domains included."""
    doc = stored.doc
    names = [doc["domain"], *doc.get("domain_aliases", ()), *former_domains(doc)]
    return [((name,), doc["domain"]) for name in dict.fromkeys(names)]


_HOSTS_VIEW = (
    "function (doc) { var names = [doc.domain].concat(doc.domain_aliases || [], doc.old_domain || [], doc.former_domains || []); "
    "names.forEach(function (name, at) { if (names.indexOf(name) === at) { emit(name) } }) }"
)

PROJECTIONS: tuple[Projection, ...] = (
    *FILES_PROJECTIONS,
    *PIM_PROJECTIONS,
    *PERMISSION_PROJECTIONS,
    *JOB_PROJECTIONS,
    *NOTIFICATION_PROJECTIONS,
    Projection(
        "hosts",
        of={INSTANCES: _hosts},
        reads=frozenset(("domain", "domain_aliases", "old_domain", "former_domains")),
        unique=True,
        view=_HOSTS_VIEW,
        scalar=True,
    ),
)

_TABLE = (
    Doctype(
        "io.cozy.contacts",
        protected=frozenset(("by-me", "by-groups", "contacts-by-email")),
        indexes=(IndexDefinition("by-me", ("me",)), IndexDefinition("by-groups", ("relationships.groups.data",))),
        complete=groups.complete,
        ripple=groups.ripple,
        lenient=True,
    ),
    Doctype(GROUPS, complete=groups.complete_group, ripple=groups.ripple, lenient=True),
    Doctype(BOOKS, ripple=groups.ripple),
    Doctype(
        JOBS,
        protected=frozenset(("by-worker-and-state", "by-trigger-id", "by-queued-at")),
        indexes=(
            IndexDefinition("by-worker-and-state", ("worker", "state")),
            IndexDefinition("by-trigger-id", ("trigger_id", "queued_at")),
            IndexDefinition("by-queued-at", ("queued_at",)),
        ),
    ),
    Doctype(TRIGGERS, protected=frozenset(("by-worker-and-type",)), indexes=(IndexDefinition("by-worker-and-type", ("worker", "type")),)),
    Doctype(NOTIFICATIONS, protected=frozenset(("by-source-id",)), indexes=(IndexDefinition("by-source-id", ("source_id", "created_at")),)),
    Doctype(ical.EVENTS, normalise=ical.normalise_event, follow_up=follow_up, ripple=konnectors.ripple, lenient=True),
    Doctype(ical.TODOS, normalise=ical.normalise_todo, follow_up=follow_up, ripple=konnectors.ripple, lenient=True),
    Doctype(ical.JOURNALS, normalise=ical.normalise_journal, follow_up=follow_up, ripple=konnectors.ripple, lenient=True),
)
DOCTYPES: Mapping[str, Doctype] = {one.name: one for one in _TABLE}
LENIENT = frozenset(one.name for one in _TABLE if one.lenient)
