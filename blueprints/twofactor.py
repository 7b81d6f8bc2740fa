"""`/auth/twofactor` and `/auth/confirm`: the second factor, and the passphrase asked for once more (docs/http/auth.md, section 5)."""

import re
from urllib.parse import urlsplit

from flask import Response, request

from blueprints import _pages
from blueprints._answers import private
from blueprints._documents import answer
from blueprints._login import (
    again,
    entered,
    go,
    is_long_run,
    kdf_values,
    lead,
    refused,
    sentence_of,
    shown_passphrase,
    to_factor,
    wants_json,
    wants_page,
    with_trust,
)
from blueprints._request import Service, credentials, instance, public
from blueprints._targets import target, with_query
from cozyd import jsons
from cozyd.documents.store import Change, Ref, Stored
from cozyd.errors import BadRequest, CozyError, Forbidden, TooManyRequests, Unauthorized

service = Service("twofactor", __name__, errors="page")

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")
CONFIRMATIONS = "io.cozy.auth.confirmations"


@service.get("/auth/twofactor", access=public)
def twofactor_page() -> Response:
    """The form that asks for the code."""
    if not request.args.get("two_factor_token"):
        return private(answer("Missing twoFactorToken", 400))
    if request.args.get("confirm") != "true":
        target(request.args.get("redirect"))
    return _code_form()


@service.post("/auth/twofactor", access=public)
def twofactor() -> Response:
    """The second step: the token of the first, and its code; the reference's form has no other token."""
    _pages.check_origin()
    auth, seen = instance().auth, credentials()
    if not auth.factors.kind:
        return _code_refused(Unauthorized(), as_page=wants_page())
    is_confirming = request.form.get("confirm") == "true"
    wanted = _confirm_target() if is_confirming else target(request.form.get("redirect"))
    try:
        auth.check_factor(request.form.get("two-factor-token", ""), request.form.get("two-factor-passcode", ""), seen)
    except TooManyRequests as error:
        return _code_refused(error)
    except Forbidden:
        return _code_refused(Unauthorized())
    if is_confirming:
        return _confirmed(wanted, request.form.get("state", ""))
    if request.form.get("two-factor-generate-trusted-device-token") not in ("1", "true"):
        return entered(wanted, "passphrase and code", long_run=is_long_run())
    token = auth.factors.trust(seen)
    auth.trail.note("browser_trusted", seen)
    done = entered(wanted, "passphrase and code", long_run=is_long_run())
    if wants_json():
        done.set_data(jsons.dump(jsons.load_object(done.get_data()) | {"two_factor_trusted_device_token": token}))
    return with_trust(done, token)


@service.get("/auth/confirm", access=public)
def confirm_page() -> Response:
    """The form that asks for the passphrase, for something that is about to be done."""
    try:
        _check_state(request.args.get("state", ""))
    except BadRequest as error:
        return _pages.error_page(error)
    return _confirm_form()


@service.post("/auth/confirm", access=public)
def confirm() -> Response:
    """The passphrase once more: a code that shows it goes to who asked."""
    _pages.check_csrf()
    state = _check_state(request.form.get("state", ""))
    wanted, auth = _confirm_target(), instance().auth
    try:
        auth.check_passphrase(shown_passphrase(), credentials())
    except (Unauthorized, TooManyRequests) as error:
        sentence = _pages.words()(sentence_of(error, "login.wrong"))
        if not wants_page():
            return refused(error, sentence)
        return again(_confirm_form(error=sentence, status=error.status), error)
    if auth.factors.kind:
        return lead(to_factor(confirm="true", state=state, redirect=request.form.get("redirect", ""), trusted_device_checkbox="false"))
    return _confirmed(wanted, state)


@service.get("/auth/confirm/<code>", access=public)
def check_confirmation(code: str) -> Response:
    """Whether a code was given out in the last five minutes."""
    if instance().auth.once.look("confirmed", code) is None:
        return private(answer({"error": "Not authorized"}, 401))
    return private(Response(status=204))


# -- inside -------------------------------------------------------------------------------------------------------------


def _confirmed(wanted: str, state: str) -> Response:
    """Tell who waits, and go there with a code."""
    code = instance().auth.once.make("confirmed")
    event = Stored(Ref(CONFIRMATIONS, state), "", jsons.dump({"_id": state}))
    instance().docs.tell([Change("CREATED", event)])
    return go(with_query(wanted, code=code, state=state))


def _check_state(state: str) -> str:
    if not state or len(state) > 200 or not state.isprintable():
        raise BadRequest("No state")
    return state


def _confirm_target() -> str:
    """Where a confirmation goes: an address of hers, or of a host that the operator lists."""
    wanted = request.form.get("redirect", "")
    return wanted if wanted.startswith(tuple(f"{origin}/" for origin in _confirm_origins())) else target(wanted)


def _confirm_origins() -> list[str]:
    """Where else a confirmation may go: to the service that manages her instance, and to hosts of the context."""
    context = instance().context
    manager, listed = urlsplit(str(context.get("manager_url") or "")).netloc, context.get("authorized_hosts_for_confirm_auth")
    hosts = [manager, *(listed if isinstance(listed, list) else ())]
    return [f"https://{host}" for host in hosts if isinstance(host, str) and _HOST.fullmatch(host)]


def _code_form(*, error: str = "", status: int = 200) -> Response:
    is_confirming = request.values.get("confirm") == "true"
    page = _pages.page(
        "twofactor.html",
        status,
        domain=instance().domain,
        kind=instance().auth.factors.kind or "mail",
        token=request.values.get("two_factor_token") or request.values.get("two-factor-token", ""),
        long_run=is_long_run(),
        redirect=request.values.get("redirect", ""),
        is_confirming=is_confirming,
        state=request.values.get("state", ""),
        offers_trust=request.values.get("trusted_device_checkbox") != "false" and not is_confirming,
        error=error,
    )
    return _pages.with_forms_to(page, *_confirm_origins()) if is_confirming else page


def _code_refused(error: CozyError, *, as_page: bool | None = None) -> Response:
    """The form again, or JSON.

    :param as_page: None: the form, but for who wants JSON and nothing else.
    """
    sentence = _pages.words()(sentence_of(error, "factor.wrong"))
    if wants_json() if as_page is None else not as_page:
        return refused(error, sentence)
    return again(_code_form(error=sentence, status=error.status), error)


def _confirm_form(*, error: str = "", status: int = 200) -> Response:
    token = _pages.csrf_token()
    fields = {"state": request.values.get("state", ""), "redirect": request.values.get("redirect", "")}
    words = _pages.words()
    page = _pages.page(
        "passphrase.html",
        status,
        is_new=False,
        title=words("confirm.title"),
        lead=words("confirm.lead", domain=instance().domain),
        action="/auth/confirm",
        submit=words("confirm.submit"),
        fields=fields,
        csrf=token,
        error=error,
        **kdf_values(),
    )
    return _pages.with_csrf(_pages.with_forms_to(page, *_confirm_origins()), token, "/auth")
