"""Index pages: values go where they stand, escaped for the place, and nothing is run."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cozyd.apps.template import parse
from cozyd.errors import CozyError

EVIL = """</script><script>alert(1)</script>'"`${x}{{.Token}}<!--\u2028&"""


def filled(page: str, **values: str) -> str:
    template = parse(page)
    assert template is not None
    return template.fill(values)


def test_a_value_is_escaped_for_its_place():
    assert filled("<p>{{.Domain}}</p>", Domain="<b>&") == "<p>&lt;b&gt;&amp;</p>"
    assert filled('<p data-x="{{.Domain}}">', Domain="\"'<") == '<p data-x="&quot;&#x27;&lt;">'
    assert filled("<script>var a = {{.Domain}}</script>", Domain='a"b') == '<script>var a = "a\\"b"</script>'
    assert filled("<script>var a = '{{.Domain}}'</script>", Domain="a'b") == "<script>var a = 'a\\u0027b'</script>"
    assert filled("<script src=x></script><p>{{ .Domain }}</p>", Domain="&") == "<script src=x></script><p>&amp;</p>"
    assert filled("{{- .Domain -}}", Domain="a") == "a"


def test_only_tags_between_tags_go_in_as_they_are():
    assert filled("<head>{{.ThemeCSS}}</head>", ThemeCSS="<link>") == "<head><link></head>"
    assert filled('<p a="{{.ThemeCSS}}">', ThemeCSS="<link>") == '<p a="&lt;link&gt;">'


@pytest.mark.parametrize("page", ["{{if .Token}}a{{end}}", "{{ 1 + 1 }}", "{{.Token | js}}", '{{template "x"}}', "{{}}", "{{.token}}"])
def test_a_page_with_other_expressions_is_no_template(page: str):
    assert parse(page) is None


def test_a_name_that_there_is_not_fails():
    with pytest.raises(CozyError):
        filled("{{.Nope}}", Token="a")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet=st.sampled_from([*list(EVIL), "a"]), max_size=40))
def test_no_value_leaves_its_place(value: str):
    text = filled("<i>{{.Domain}}</i>", Domain=value)
    assert "<" not in text.removeprefix("<i>").removesuffix("</i>")
    quoted = filled('<i a="{{.Domain}}">', Domain=value).removeprefix('<i a="').removesuffix('">')
    assert not set('"<>') & set(quoted)
    script = filled("<script>{{.Domain}}</script>", Domain=value).removeprefix("<script>").removesuffix("</script>")
    assert json.loads(script) == value
    assert not re.search(r"[<>]", script)


def test_a_value_is_never_read_as_a_template():
    assert filled("<p>{{.Domain}}{{.Token}}</p>", Domain="{{.Token}}", Token="secret") == "<p>{{.Token}}secret</p>"
