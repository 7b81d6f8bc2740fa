"""`/auth/magic_link*`: a link of a mail logs in, once (docs/http/auth.md)."""

from urllib.parse import urlencode

from flask import Response, request

from blueprints import _pages
from blueprints._answers import private, redirect
from blueprints._documents import answer
from blueprints._login import again, asks_for_factor, entered, kdf_values, lead, refused, sentence_of, shown_passphrase, wants_page
from blueprints._request import SESSION_COOKIE, Service, body, by_secret, credentials, instance, logged_in, public
from blueprints._targets import carried, target
from cozyd.errors import BadRequest, CozyError, NotFound, TooManyRequests, Unauthorized

service = Service("magic", __name__, errors="page")
flagship = Service("magic_flagship", __name__, errors="oauth")


@service.post("/auth/magic_link", access=public)
def send() -> Response:
    """Mail the link; the answer is the same whether one left."""
    _pages.check_csrf()
    if not instance().auth.letters.has_magic_links:
        raise NotFound("Magic links are not enabled")
    wanted = request.form.get("redirect", "")
    target(wanted)
    instance().auth.request_magic_link(credentials(), f"&{urlencode({'redirect': wanted})}" if wanted else "")
    return _pages.sent("magic.sent_title", "magic.sent")


@service.get("/auth/magic_link", access=public)
def follow() -> Response:
    """Log in by the link; who has a second factor is asked for the passphrase, too."""
    wanted, code, auth = target(request.args.get("redirect")), _code(), instance().auth
    if logged_in() is not None:
        return redirect(carried(wanted, request.cookies.get(SESSION_COOKIE, "")))
    if asks_for_factor():
        if auth.once.look("magic", code) is None:
            return _pages.error_page(_old())
        return _passphrase_form(code)
    if auth.once.take("magic", code) is None:
        return _pages.error_page(_old())
    return entered(wanted, "magic link", long_run=True)


@service.post("/auth/magic_link/twofactor", access=public)
def follow_with_passphrase() -> Response:
    """The link and the passphrase: two factors."""
    _pages.check_csrf()
    wanted, code, auth, words = target(request.form.get("redirect")), _code(), instance().auth, _pages.words()
    try:
        if auth.once.look("magic", code) is None:
            raise _old()
        auth.check_passphrase(shown_passphrase(), credentials())
        if auth.once.take("magic", code) is None:
            raise _old()
    except (Unauthorized, TooManyRequests) as error:
        sentence = words(sentence_of(error, "login.wrong"))
        return refused(error, sentence) if not wants_page() else again(_passphrase_form(code, error=sentence, status=error.status), error)
    except BadRequest as error:
        return _pages.error_page(error) if wants_page() else refused(Unauthorized(), error.detail)
    return entered(wanted, "magic link and passphrase", long_run=True, way=lead)


@flagship.post("/auth/magic_link/flagship", access=by_secret)
def follow_flagship() -> Response:
    """Tokens for everything, for the code of a link."""
    given, auth, seen = body(), instance().auth, credentials()
    named = {name: _text(given.get(name)) for name in ("client_id", "client_secret", "magic_code", "passphrase")}
    oauth = auth.oauth(request.host_url.rstrip("/"))
    auth.attempts.count(seen)
    if auth.once.look("magic", named["magic_code"]) is None:
        raise Unauthorized("invalid magic code")
    if auth.factors.kind:
        if not named["passphrase"]:
            raise Unauthorized("passphrase is required as second authentication factor")
        auth.check_passphrase(named["passphrase"], seen)
    oauth.check_client(named["client_id"], named["client_secret"])
    if auth.once.take("magic", named["magic_code"]) is None:
        raise Unauthorized("invalid magic code")
    tokens = oauth.certified(named["client_id"], named["client_secret"])
    if tokens is None:
        return private(answer({"session_code": auth.new_session_code()}, 202))
    auth.trail.note("logged_in", seen, "magic link, flagship application")
    return private(answer(tokens))


# -- inside -------------------------------------------------------------------------------------------------------------


def _code() -> str:
    return request.values.get("magic_code") or request.values.get("code") or ""


def _old() -> CozyError:
    return BadRequest(_pages.words()("magic.old"))


def _passphrase_form(code: str, *, error: str = "", status: int = 200) -> Response:
    token, words = _pages.csrf_token(), _pages.words()
    page = _pages.page(
        "passphrase.html",
        status,
        is_new=False,
        title=words("magic.second_title"),
        lead=words("magic.second", domain=instance().domain),
        action="/auth/magic_link/twofactor",
        submit=words("login.submit"),
        fields={"magic_code": code, "redirect": request.values.get("redirect", "")},
        csrf=token,
        error=error,
        **kdf_values(),
    )
    return _pages.with_csrf(page, token, "/auth")


def _text(found: object) -> str:
    if found is not None and not isinstance(found, str):
        raise BadRequest("The fields are texts")
    return found or ""
