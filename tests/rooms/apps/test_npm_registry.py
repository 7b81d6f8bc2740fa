"""Which npm registry `npm:` sources come from, where the operator names none."""

from pathlib import Path

from cozyd.apps.npm import own_registry


def test_it_is_the_one_that_npm_is_set_up_for(tmp_path: Path):
    assert own_registry({}) == own_registry({"HOME": str(tmp_path)}) == ""
    (tmp_path / ".npmrc").write_text("# mine\naudit=false\nregistry=https://npm.example.org/\n")
    assert own_registry({"HOME": str(tmp_path)}) == "https://npm.example.org/"
    assert own_registry({"HOME": str(tmp_path), "npm_config_registry": "https://other.example.org"}) == "https://other.example.org"
