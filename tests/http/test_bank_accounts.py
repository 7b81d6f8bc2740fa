"""Accounts at providers without tokens of their own: their konnectors ask there themselves, in this process."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cozyd.config import Apps
from tests.support.inprocess import Place, Tenant

RULES = {"type": "konnector", "source_id": "io.cozy.konnectors/bank", "permissions": {"accounts": {"type": "io.cozy.accounts"}}}


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    top: Path = tmp_path_factory.mktemp("banks")
    file = top / "types.json"
    types = {
        "banks": {"client_id": "cozyd", "client_secret": "s3cret", "grant_mode": "bi_webview", "auth_endpoint": "https://bank.example/"}
    }
    file.write_text(json.dumps(types))
    place = Place(top / "data", apps=replace(Apps(), account_types=file))
    yield place.tenant()
    place.stack.close()


def test_only_a_konnector_gets_what_the_operator_has_at_the_provider(alice: Tenant):
    alice.instance.docs.put("io.cozy.konnectors", {"_id": "io.cozy.konnectors/bank", "slug": "bank", "state": "ready"})
    alice.instance.docs.put("io.cozy.permissions", RULES)
    account = {"account_type": "banks", "oauth": {"query": {"connection_id": ["7"]}}}
    id = alice.instance.docs.put("io.cozy.accounts", account).ref.id
    token = alice.instance.auth.konnector_token("bank")
    told = json.loads(alice.ask("POST", f"/accounts/banks/{id}/refresh", token=token).data)["data"]["attributes"]
    assert told["oauth"] == {"query": {"connection_id": ["7"]}, "client_id": "cozyd", "client_secret": "s3cret"}
    assert alice.app("POST", f"/accounts/banks/{id}/refresh", scope="io.cozy.accounts").status_code == 400
    kept = alice.cli("GET", f"/data/io.cozy.accounts/{id}", scope="io.cozy.accounts")
    assert "s3cret" not in kept.text
