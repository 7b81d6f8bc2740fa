"""Pages of `/settings`: links from mails, the way into the mobile application, the end of an instance (docs/http/settings.md)."""

import re
from urllib.parse import quote

from flask import Response, request

from blueprints import _pages
from blueprints._answers import redirect
from blueprints._login import without_session
from blueprints._request import Service, instance, logged_in, owner, public
from blueprints._targets import here, start
from cozyd.errors import BadRequest, NotFound
from cozyd.stack import Stack

service = Service("settings_pages", __name__, url_prefix="/settings", errors="page")

APP_STORE, PLAY_STORE = "id1600636174", "io.cozy.flagship.mobile"
_APPLE = re.compile(r"iPhone|iPad")
_MOBILE = re.compile(r"iPhone|iPad|Android|Mobile")


@service.get("/email/confirm", access=public)
def confirm_address() -> Response:
    """The link of a mail to a new address: it is hers from now on."""
    if logged_in() is None:
        return redirect(here(f"/auth/login?redirect={quote(request.url, safe='')}"))
    settings_app = instance().app_url("settings")
    try:
        instance().settings.address.confirm(request.args.get("token", ""))
    except BadRequest:
        words = _pages.words()
        return _pages.notice("email.title", words("email.text"), 400, links=[(words("email.settings"), settings_app)])
    return redirect(settings_app, 307)


@service.get("/onboarded", access=public)
def onboarded() -> Response:
    """Her first steps are done: on to her applications."""
    if logged_in() is None:
        return redirect(here("/auth/login"))
    if not instance().doc.get("onboarding_finished"):
        instance().amend(onboarding_finished=True)
    if _MOBILE.search(request.headers.get("User-Agent", "")):
        return redirect(here("/settings/install_flagship_app"))
    return redirect(_onboarded())


@service.get("/install_flagship_app", access=public)
def install_flagship_app() -> Response:
    """Where the mobile application is to be had."""
    words = _pages.words()
    links = [(words("flagship.install"), _store()), (words("flagship.skip"), _onboarded())]
    return _pages.notice("flagship.title", words("flagship.text"), links=links)


@service.get("/instance/deletion/confirm", access=owner)
def confirm_deletion() -> Response:
    """The link of a mail: asks a last time before everything is deleted."""
    token = request.args.get("token", "")
    if instance().auth.once.look("deletion", token) is None:
        return _old_link()
    csrf = _pages.csrf_token()
    page = _pages.page("deletion.html", domain=instance().domain, token=token, csrf=csrf)
    return _pages.with_csrf(page, csrf, "/settings")


@service.post("/instance/deletion/confirm", access=owner)
def delete_instance() -> Response:
    """Delete everything, for good."""
    _pages.check_csrf()
    doomed = instance()
    if doomed.auth.once.take("deletion", request.form.get("token", "")) is None:
        return _old_link()
    words = _pages.words()
    page = without_session(_pages.notice("deletion.done.title", words("deletion.done.text", domain=doomed.domain)))
    stack: Stack = request.environ["cozyd.stack"]
    stack.destroy(doomed.domain)
    return page


# -- inside -------------------------------------------------------------------------------------------------------------


def _old_link() -> Response:
    words = _pages.words()
    return _pages.notice("deletion.bad.title", words("deletion.bad.text"), 400, links=[(words("error.home"), "/")])


def _onboarded() -> str:
    """Where a new owner begins: what her context says, the home application, or the start page."""
    wanted = instance().context.get("onboarded_redirection")
    if isinstance(wanted, str) and wanted:
        slug, _, path = wanted.partition("/")
        return instance().app_url(slug, f"/{path}")
    try:
        instance().apps.get("webapp", "home")
    except NotFound:
        return start()
    return instance().app_url("home")


def _store() -> str:
    """The shop of her phone."""
    flags = instance().settings.flags().values
    agent, locale = request.headers.get("User-Agent", ""), quote(str(instance().doc.get("locale", "en")), safe="")
    if _APPLE.search(agent):
        return f"https://apps.apple.com/{locale}/app/{quote(str(flags.get('flagship.appstore_id') or APP_STORE), safe='')}"
    if "Android" in agent:
        id = quote(str(flags.get("flagship.playstore_id") or PLAY_STORE), safe="")
        return f"https://play.google.com/store/apps/details?id={id}&hl={locale}"
    return f"https://cozy.io/{locale}/download"
