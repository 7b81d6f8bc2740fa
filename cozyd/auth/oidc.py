"""Log in at somebody else's server: OpenID Connect Core 1.0, code flow with PKCE, as a relying party (docs/http/auth.md).

The provider is the operator's choice (`[oidc.<context>]`); its answers are judged: state and browser, nonce, signature by its
published keys, issuer, audience and time. Which person it is follows from `sub`, or from a claim that names her domain.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from cozyd import jsons
from cozyd.auth.once import OneTime
from cozyd.cache import Cache
from cozyd.errors import BadGateway, BadRequest, CozyError, Forbidden
from cozyd.outbound import Outbound

KEPT = 3600.0
"""Seconds for which a provider's description and keys are kept."""
SIGNATURES = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
FAILED = "The provider did not say who you are"
_LARGEST = 1 << 18


@dataclass(frozen=True, slots=True)
class Provider:
    """What the configuration says of a provider; what it leaves out stands in the provider's own description (Discovery 1.0).

    :param issuer: its address.
    :param userinfo_instance_field: the claim that names the instance's domain, between prefix and suffix; empty: `sub` is compared
        with the record's `oidc_id`.
    :param redirect_uri: where the provider leads back to; empty: `/oidc/redirect` of the instance.
    """

    issuer: str
    client_id: str
    client_secret: str = ""
    name: str = "OpenID"
    scope: str = "openid"
    authorize_url: str = ""
    token_url: str = ""
    jwks_url: str = ""
    logout_url: str = ""
    redirect_uri: str = ""
    userinfo_instance_field: str = ""
    userinfo_instance_prefix: str = ""
    userinfo_instance_suffix: str = ""


NAMES = frozenset(one.name for one in fields(Provider))


@dataclass(frozen=True, slots=True)
class Started:
    """A log-in that was begun: where to send the browser, and what its cookie keeps."""

    url: str
    binding: str


class Delegated:
    """The provider of one instance.

    :param record: gives the instance record.
    """

    def __init__(
        self, provider: Provider, outbound: Outbound, cache: Cache, once: OneTime, record: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.provider = provider
        self._outbound = outbound
        self._cache = cache
        self._once = once
        self._record = record

    def start(self, callback: str, target: str) -> Started:
        """Begin a log-in.

        :param callback: the address of the instance that the provider leads back to, if it has no own in the configuration.
        :param target: where she goes afterwards.
        :raises BadGateway, GatewayTimeout: the provider does not answer.
        """
        verifier, nonce, binding = secrets.token_urlsafe(48), secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        back = self.provider.redirect_uri or callback
        kept = {"verifier": verifier, "nonce": nonce, "binding": _hashed(binding), "target": target, "back": back}
        state = f"{self._once.make('oidc', jsons.dump(kept))}.{self._record()['domain']}"
        uri = prepare_grant_uri(
            self._endpoint("authorization_endpoint", self.provider.authorize_url),
            self.provider.client_id,
            "code",
            redirect_uri=back,
            scope=self.provider.scope,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return Started(uri, binding)

    def finish(self, state: str, code: str, binding: str) -> str:
        """Where she goes, as the provider says that it is her.

        :param binding: of the browser's cookie.
        :raises BadRequest: the log-in was not begun in this browser, or is used up, or too old.
        :raises Forbidden: it is somebody else, or nobody the provider vouches for.
        """
        kept = self._once.take("oidc", state.partition(".")[0])
        given: Mapping[str, str] = jsons.load(kept) if kept is not None else {}
        if not given or not hmac.compare_digest(given["binding"], _hashed(binding)):
            raise BadRequest("This log-in was not begun here, or took too long")
        answer = self._token(code, given)
        self.check(str(answer.get("id_token", "")), nonce=given["nonce"])
        return given["target"]

    def check(self, id_token: str, *, nonce: str | None = None) -> None:
        """Whether an ID token is good, and hers.

        :param nonce: of the log-in it belongs to; None: of a log-in that an application began.
        :raises Forbidden: it is not.
        """
        claims = self._claims(id_token)
        if nonce is not None and not hmac.compare_digest(str(claims.get("nonce", "")), nonce):
            raise Forbidden(FAILED)
        if not self._is_hers(claims):
            raise Forbidden("The provider knows you as somebody else")

    def logout_url(self, back: str) -> str:
        """Where the session at the provider ends (RP-Initiated Logout 1.0); empty: it has no such place."""
        try:
            url = self._endpoint("end_session_endpoint", self.provider.logout_url)
        except CozyError:
            return ""
        return f"{url}{'&' if '?' in url else '?'}{urlencode({'client_id': self.provider.client_id, 'post_logout_redirect_uri': back})}"

    # -- inside -----------------------------------------------------------------------------------------------------

    def _token(self, code: str, given: Mapping[str, str]) -> Mapping[str, Any]:
        """What the provider gives for a code."""
        named = {"client_id": self.provider.client_id, "redirect_uri": given["back"], "code_verifier": given["verifier"]}
        if self.provider.client_secret:
            named["client_secret"] = self.provider.client_secret
        body = prepare_token_request("authorization_code", code=code, **named)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        url = self._endpoint("token_endpoint", self.provider.token_url)
        answer = self._outbound.request("POST", url, headers=headers, body=body.encode(), limit_bytes=_LARGEST, redirects=0)
        if answer.status != 200:
            raise Forbidden(FAILED)
        return _object(answer.body)

    def _claims(self, id_token: str) -> Mapping[str, Any]:
        """The claims of an ID token that the provider signed for us (Core, section 3.1.3.7)."""
        from joserfc import jwk, jwt
        from joserfc.errors import JoseError

        rules = jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": self.provider.issuer},
            aud={"essential": True, "value": self.provider.client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
        )
        for fresh in (False, True):  # a provider changes its keys from time to time
            try:
                published: Any = self._described("jwks", self._endpoint("jwks_uri", self.provider.jwks_url), fresh=fresh)
                keys = jwk.KeySet.import_key_set(published)
                claims = jwt.decode(id_token, keys, algorithms=SIGNATURES).claims
                rules.validate(claims)
            except (JoseError, ValueError, TypeError, KeyError) as cause:
                if fresh:
                    raise Forbidden(FAILED) from cause
                continue
            if claims.get("azp", self.provider.client_id) != self.provider.client_id:
                raise Forbidden(FAILED)
            return claims
        raise Forbidden(FAILED)

    def _is_hers(self, claims: Mapping[str, Any]) -> bool:
        record, provider = self._record(), self.provider
        if record.get("oidc_id"):
            return hmac.compare_digest(str(claims["sub"]).encode(), str(record["oidc_id"]).encode())
        if not provider.userinfo_instance_field:
            return False
        named = claims.get(provider.userinfo_instance_field)
        if not isinstance(named, str) or not named:
            return False
        return f"{provider.userinfo_instance_prefix}{named}{provider.userinfo_instance_suffix}" == str(record["domain"])

    def _endpoint(self, name: str, configured: str) -> str:
        """An address of the provider: of the configuration, else of its description."""
        if configured:
            return configured
        found = self._described("description", f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self.provider.issuer or not isinstance(found.get(name), str):
            raise BadGateway("The provider's description is not right")
        return str(found[name])

    def _described(self, what: str, url: str, *, fresh: bool = False) -> Mapping[str, Any]:
        key = f"oidc/{what}/{url}"
        known = None if fresh else self._cache.get(key)
        if known is None:
            answer = self._outbound.request("GET", url, headers={"Accept": "application/json"}, limit_bytes=_LARGEST)
            if answer.status != 200:
                raise BadGateway("The provider does not answer")
            known = answer.body
            _object(known)
            self._cache.set(key, known, KEPT)
        return _object(known)


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        return jsons.load_object(text)
    except BadRequest as cause:
        raise BadGateway("The provider's answer is not right") from cause


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
