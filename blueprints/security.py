"""`/auth/security`: the page where the owner sees where she is logged in and changes her secrets (docs/http/auth.md).

Reading takes her session; changing a secret takes a passphrase or passkey shown in the last ten minutes.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, cast

from flask import Response, request

from blueprints import _consent, _pages
from blueprints._answers import private, redirect
from blueprints._documents import answer
from blueprints._login import again, kdf_values, sentence_of, shown_passphrase, with_session, without_session
from blueprints._qr import qr
from blueprints._request import SESSION_COOKIE, Service, credentials, instance, owner, place
from blueprints.passphrase import new_error, new_passphrase
from cozyd import jsons
from cozyd.auth.agents import device_of
from cozyd.auth.clients import Client
from cozyd.auth.factors import Setup
from cozyd.auth.passphrase import BITWARDEN
from cozyd.documents.store import Stored
from cozyd.errors import BadRequest, CozyError, Forbidden, Invalid, NotFound, TooManyRequests, Unauthorized

service = Service("security", __name__, url_prefix="/auth/security", errors="page")

SHOWN_EVENTS = 50
View = Callable[..., Response]


def present(view: View) -> View:
    """A form that changes a secret: its token, and a proof of the last ten minutes that it is her."""

    @wraps(view)
    def checked(**arguments: Any) -> Response:
        _pages.check_csrf()
        if not instance().auth.is_present(_session()):
            return _to("?confirm#confirm")
        return view(**arguments)

    return cast(View, checked)


@service.get("/", access=owner)
def security() -> Response:
    """The page."""
    return _page()


@service.post("/confirm", access=owner)
def confirm() -> Response:
    """The passphrase once more."""
    _pages.check_csrf()
    auth, seen = instance().auth, credentials()
    try:
        auth.check_passphrase(shown_passphrase(), seen)
    except (Unauthorized, TooManyRequests) as error:
        return again(_page(error=sentence_of(error, "login.wrong"), status=error.status), error)
    auth.confirm_presence(_session().ref.id)
    return _to("")


# -- sessions -------------------------------------------------------------------------------------------------------------


@service.post("/sessions/<id>/end", access=owner)
def end_session(id: str) -> Response:
    """End one session; of the own one, log out."""
    _pages.check_csrf()
    auth = instance().auth
    if id == _session().ref.id:
        return without_session(redirect(f"{request.host_url}auth/login"))
    try:
        auth.sessions.remove(id)
        auth.trail.note("session_ended", credentials())
    except NotFound:
        pass  # it has ended already
    return _to("?done=session#sessions")


@service.post("/sessions/others", access=owner)
def end_others() -> Response:
    """End every session but this one."""
    _pages.check_csrf()
    auth = instance().auth
    auth.sessions.end_others(request.cookies.get(SESSION_COOKIE, ""))
    auth.trail.note("sessions_ended", credentials())
    return _to("?done=others#sessions")


# -- applications ---------------------------------------------------------------------------------------------------------


@service.post("/clients/<id>/remove", access=owner)
def remove_client(id: str) -> Response:
    """Let an application in no more; its tokens are dead from the next request on."""
    _pages.check_csrf()
    auth = instance().auth
    with suppress(NotFound):  # it is gone already
        auth.remove_client(auth.clients.get(id), credentials())
    return _to("?done=client#clients")


# -- passphrase -----------------------------------------------------------------------------------------------------------


@service.post("/passphrase", access=owner)
def change_passphrase() -> Response:
    """Another passphrase, for the present one."""
    _pages.check_csrf()
    auth, seen = instance().auth, credentials()
    given = request.form.get("current_passphrase", "")
    try:
        auth.check_passphrase(shown_passphrase("current_passphrase"), seen)
        new = new_passphrase(request.form)
        clear = request.form.get("clear") == "1"
        long_run = _session().doc.get("long_run") is True
        auth.replace_passphrase(new, seen, current=given if clear else "")
    except (Unauthorized, TooManyRequests) as error:
        return again(_page(error=sentence_of(error, "login.wrong"), status=error.status), error)
    except (BadRequest, Invalid) as error:
        return _page(sentence=new_error(error), status=error.status)
    cookie = auth.sessions.open(seen, long_run=long_run)
    return with_session(_to("?done=passphrase"), cookie, long_run=long_run)


# -- second factor --------------------------------------------------------------------------------------------------------


@service.post("/factor/app", access=owner)
@present
def start_app() -> Response:
    """Show the QR code for an authenticator app."""
    auth = instance().auth
    setup = auth.factors.new_app(instance().domain)
    return _page(setup=setup, attempt=auth.once.make("setup", jsons.dump([setup.secret, setup.uri])))


@service.post("/factor/app/on", access=owner)
@present
def turn_on_app() -> Response:
    """Ask for the app's codes from now on, as it shows one."""
    auth, attempt = instance().auth, request.form.get("attempt", "")
    kept = auth.once.look("setup", attempt)
    if kept is None:
        return _to("?done=slow#factor")
    secret, uri = jsons.load(kept)
    try:
        codes = auth.factors.turn_on_app(secret, request.form.get("code", ""))
    except (Invalid, TooManyRequests) as error:
        sentence = sentence_of(error, "factor.wrong")
        return again(_page(error=sentence, status=error.status, setup=Setup(secret, uri), attempt=attempt), error)
    auth.once.take("setup", attempt)
    auth.trail.note("factor_on", credentials(), "app")
    return _page(codes=codes)


@service.post("/factor/mail", access=owner)
@present
def start_mail() -> Response:
    """Mail the code that turns codes by mail on."""
    try:
        instance().auth.factors.ask_for_mail()
    except TooManyRequests as error:
        return again(_page(error=sentence_of(error, ""), status=error.status), error)
    return _page(is_mailed=True)


@service.post("/factor/mail/on", access=owner)
@present
def turn_on_mail() -> Response:
    """Ask for codes by mail from now on, as one has arrived."""
    auth = instance().auth
    try:
        auth.factors.turn_on_mail(request.form.get("code", ""))
    except (Invalid, TooManyRequests) as error:
        return again(_page(error=sentence_of(error, "factor.wrong"), status=error.status, is_mailed=True), error)
    auth.trail.note("factor_on", credentials(), "mail")
    return _to("?done=factor_on#factor")


@service.post("/factor/recovery", access=owner)
@present
def renew_codes() -> Response:
    """Other recovery codes."""
    auth = instance().auth
    codes = auth.factors.renew_recovery_codes()
    auth.trail.note("recovery_renewed", credentials())
    return _page(codes=codes)


@service.post("/factor/off", access=owner)
@present
def turn_off() -> Response:
    """Ask for no second factor."""
    instance().auth.turn_off_factor(credentials())
    return _to("?done=factor_off#factor")


@service.post("/trusted/forget", access=owner)
def distrust() -> Response:
    """Ask every browser for a code again."""
    _pages.check_csrf()
    instance().auth.factors.distrust_all()
    return _to("?done=distrusted#factor")


# -- passkeys -------------------------------------------------------------------------------------------------------------


@service.post("/passkeys/options", access=owner)
def passkey_options() -> Response:
    """What the browser needs to make a passkey."""
    _pages.check_csrf()
    auth = instance().auth
    if not auth.is_present(_session()):
        raise Forbidden("confirm")
    attempt, options = auth.passkeys.creation(place(), instance().public_name())
    return private(answer({"attempt": attempt, "options": options}))


@service.post("/passkeys", access=owner)
@present
def add_passkey() -> Response:
    """Keep the passkey that the browser made."""
    auth, form = instance().auth, request.form
    try:
        name = form.get("name") or device_of(credentials().agent)
        made = auth.passkeys.add(place(), form.get("attempt", ""), form.get("answer", ""), name)
    except (BadRequest, Invalid) as error:
        return _page(error="passkey.failed", status=error.status)
    auth.trail.note("passkey_added", credentials(), made.name)
    return _to("?done=passkey#passkeys")


@service.post("/passkeys/<id>/rename", access=owner)
def rename_passkey(id: str) -> Response:
    """Call a passkey something else."""
    _pages.check_csrf()
    try:
        instance().auth.passkeys.rename(id, request.form.get("name", ""))
    except Invalid:
        return _to("#passkeys")
    return _to("?done=renamed#passkeys")


@service.post("/passkeys/<id>/remove", access=owner)
@present
def remove_passkey(id: str) -> Response:
    """Let a passkey open nothing any more."""
    auth = instance().auth
    try:
        removed = auth.passkeys.remove(id)
        auth.trail.note("passkey_removed", credentials(), removed.name)
    except NotFound:
        pass  # it is gone already
    return _to("?done=unkeyed#passkeys")


# -- inside -------------------------------------------------------------------------------------------------------------

_DONE = frozenset("session others client passphrase factor_on factor_off distrusted passkey renamed unkeyed slow".split())


def _session() -> Stored:
    return instance().auth.sessions.get(request.cookies.get(SESSION_COOKIE, ""))


def _to(rest: str) -> Response:
    return redirect(f"{request.host_url}auth/security/{rest}")


def _page(
    *,
    error: str = "",
    sentence: str = "",
    status: int = 200,
    setup: Setup | None = None,
    attempt: str = "",
    is_mailed: bool = False,
    codes: Sequence[str] = (),
) -> Response:
    """The page.

    :param error: the name of a sentence; `sentence` the sentence itself.
    :param setup: an authenticator app that is being set up, under the key `attempt`.
    :param codes: recovery codes, shown this once.
    """
    token, words, auth, mine = _pages.csrf_token(), _pages.words(), instance().auth, _session()
    done = request.args.get("done", "")
    page = _pages.page(
        "security.html",
        status,
        name=instance().public_name(),
        csrf=token,
        error=words(error) if error else sentence,
        notice=words(f"done.{done}") if done in _DONE and not error and not sentence else "",
        is_present=auth.is_present(mine),
        asks="confirm" in request.args,
        mine=mine.ref.id,
        sessions=_sessions(),
        clients=_clients(),
        kind=auth.factors.kind,
        can_mail=bool(instance().email()),
        recovery_left=auth.factors.recovery_left(),
        trusted=auth.factors.trusted(),
        setup=setup,
        qr=qr(setup.uri, words("factor.qr")) if setup else "",
        attempt=attempt,
        is_mailed=is_mailed,
        codes=codes,
        passkeys=auth.passkeys.all(),
        events=auth.trail.latest(SHOWN_EVENTS),
        has_passphrase=auth.passphrase.is_defined,
        vault_key=_vault_key(),
        **kdf_values(),
    )
    return _pages.with_csrf(page, token, "/auth")


def _sessions() -> list[dict[str, Any]]:
    """Her sessions with what the browser said when each began: this one, then the last used first."""
    auth = instance().auth
    logins = {login.doc.get("session_id"): login.doc for login in auth.sessions.logins(500)}
    found = []
    for stored in auth.sessions.all():
        login = logins.get(stored.ref.id, {})
        device = ", ".join(str(login[name]) for name in ("browser", "os") if login.get(name))
        found.append({"id": stored.ref.id, "device": device, "address": login.get("ip", ""), "seen": str(stored.doc["last_seen"])[:10]})
    mine = _session().ref.id
    return sorted(found, key=lambda one: (one["id"] == mine, one["seen"]), reverse=True)


def _clients() -> list[dict[str, Any]]:
    """The applications that she let in: what they may do, in words, and when they were here last."""
    auth = instance().auth
    scopes, found = auth.grants.scopes(), []
    for client in auth.clients.all():
        doc = client.stored.doc
        if doc.get("pending") is True:
            continue
        used = max(str(doc.get(name) or "") for name in ("last_refreshed_at", "synchronized_at"))
        may = [line for scope in scopes.get(client.id, ()) for line in _may(client, scope)]
        found.append({"id": client.id, "name": client.name, "used": used[:10], "may": list(dict.fromkeys(may))})
    return found


def _may(client: Client, scope: str) -> Sequence[str]:
    try:
        return _consent.lines(client, scope)
    except CozyError:  # its app is gone, or a cozy-stack gave it a scope that is none
        return ()


def _vault_key() -> str:
    """The key that the script puts under another passphrase; only she could open it."""
    try:
        return str(instance().docs.get(BITWARDEN).doc.get("key") or "")
    except NotFound:
        return ""
