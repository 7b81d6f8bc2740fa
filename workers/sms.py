"""`sms`: stands in for a short message with its mail (docs/workers.md, section 6)."""

from cozyd.errors import JobFailed
from cozyd.instance import Instance
from cozyd.jobs.job import Job


def run(instance: Instance, job: Job) -> None:
    """Send the mail that stands in for a short message: no provider of those is known here.

    :raises JobFailed: there is none.
    """
    message = job.message if isinstance(job.message, dict) else {}
    mail = message.get("mail_fallback")
    if not isinstance(mail, dict):
        raise JobFailed("No short message leaves here: there is no provider", again=False)
    instance.jobs.push("sendmail", mail)
