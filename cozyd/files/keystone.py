"""Sign in at OpenStack's identity service, Keystone, version 3 (https://docs.openstack.org/api-ref/identity/v3/)."""

from collections.abc import Mapping
from typing import Any

from cozyd import jsons
from cozyd.errors import Unavailable

INTERFACES = {"internal": "internal", "admin": "admin"}


def sign_in(url: str, options: Mapping[str, str], timeout: float) -> tuple[str, str]:
    """The address of the object store, and a token.

    :param url: of the identity service, `/v3` included.
    :param options: see `swiftsession.Access`.
    :raises Unavailable: it refuses, or knows no object store there.
    :raises OSError: it does not answer.
    """
    import requests

    answer = requests.post(
        f"{url}/auth/tokens", data=jsons.dump(_question(options)), headers={"Content-Type": "application/json"}, timeout=timeout
    )
    if answer.status_code != 201:
        raise Unavailable(f"The identity service of the file store answered {answer.status_code}", retry_after=60)
    catalog = jsons.load_object(answer.content).get("token", {}).get("catalog") or []
    return _address(catalog, options), answer.headers["X-Subject-Token"]


def _question(options: Mapping[str, str]) -> dict[str, Any]:
    user = {"name": options["UserName"], "password": options["Password"], "domain": {"name": options.get("UserDomainName") or "Default"}}
    question: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    scope = _scope(options)
    if scope:
        question["scope"] = {"project": scope}
    return {"auth": question}


def _scope(options: Mapping[str, str]) -> dict[str, Any]:
    if options.get("ProjectID"):
        return {"id": options["ProjectID"]}
    if not options.get("ProjectName"):
        return {}
    if options.get("ProjectDomainID"):
        return {"name": options["ProjectName"], "domain": {"id": options["ProjectDomainID"]}}
    return {"name": options["ProjectName"], "domain": {"name": options.get("ProjectDomain") or options.get("UserDomainName") or "Default"}}


def _address(catalog: list[Any], options: Mapping[str, str]) -> str:
    """Where the object store of the wanted region and interface is."""
    interface = INTERFACES.get(options.get("EndpointType", ""), "public")
    for service in catalog:
        for endpoint in service.get("endpoints", ()) if service.get("type") == "object-store" else ():
            if endpoint.get("interface") == interface and options.get("Region") in (None, "", endpoint.get("region")):
                return str(endpoint["url"])
    raise Unavailable("The identity service knows no object store there", retry_after=60)
