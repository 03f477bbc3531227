"""docs/metrics.md, grafana.json and alerts.yml speak of the metrics that there are, of all of them.

promtool (Debian's package prometheus) judges names and rules where it is installed.
"""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.runtime import heartbeat
from tests.stack import ROOT

DOCS = ROOT / 'docs'
NAME = re.compile(r'\bwhatsapp_[a-z_]+\b')
UNITS = ('_seconds', '_total', '_info')
# Gauges that count things have no unit.
PLAIN = {
    'whatsapp_messages_waiting', 'whatsapp_processes', 'whatsapp_accounts_held',
    'whatsapp_database_connections', 'whatsapp_database_connections_max', 'whatsapp_redis_up',
    'whatsapp_scrape_failed',
}  # fmt: skip


@pytest.fixture
def exposed(backend, monkeypatch):
    """The text of a scrape."""
    monkeypatch.setattr(heartbeat, 'BEAT_EVERY', 0)
    backend.get('/accounts')
    heartbeat.beat('web')
    return backend.get('/metrics').text


def families(text):
    return list(text_string_to_metric_families(text))


def samples(text):
    return {sample.name for family in families(text) for sample in family.samples}


def expressions(found):
    """Every `expr` of a dashboard or of rules."""
    if isinstance(found, dict):
        own = [found['expr']] if isinstance(found.get('expr'), str) else []
        return own + [text for value in found.values() for text in expressions(value)]
    if isinstance(found, list):
        return [text for value in found for text in expressions(value)]
    return []


@pytest.fixture(params=['grafana.json', 'alerts.yml'])
def shown(request):
    text = (DOCS / request.param).read_text()
    found = expressions(
        json.loads(text) if request.param.endswith('json') else yaml.safe_load(text)
    )
    assert len(found) >= 14
    return found


def test_what_is_shown_and_watched_is_exposed(exposed, shown):
    there = samples(exposed)
    for expression in shown:
        names = set(NAME.findall(expression))
        assert names, expression
        assert names <= there, expression


def test_the_labels_that_are_asked_for_have_these_values(exposed, shown):
    for name, label, values in re.findall(r'(whatsapp_\w+)\{(\w+)=~?"([^"]+)"', ' '.join(shown)):
        known = {
            sample.labels.get(label)
            for family in families(exposed)
            for sample in family.samples
            if sample.name == name
        }
        assert set(values.split('|')) <= known, (name, label, values)


def test_the_page_has_a_row_for_every_metric_and_its_labels(exposed):
    page = (DOCS / 'metrics.md').read_text()
    rows = {
        name: set(re.findall(r'`(\w+)`', labels))
        for name, labels in re.findall(r'^\| `(whatsapp_\w+)` \| ([^|]*)\|', page, re.MULTILINE)
    }
    there = {}
    for family in families(exposed):
        labels = set().union(*(sample.labels for sample in family.samples)) - {'le'}
        there[f'{family.name}_total' if family.type == 'counter' else family.name] = labels
    assert rows == there


def test_each_name_says_its_unit(exposed):
    for family in families(exposed):
        name = f'{family.name}_total' if family.type == 'counter' else family.name
        assert name.endswith(UNITS) or name in PLAIN, name
        assert family.documentation.endswith('.'), name


def test_promtool_finds_nothing_to_say(exposed):
    tool = shutil.which('promtool')
    if not tool:
        pytest.skip('promtool is not installed: apt-get install prometheus')
    rules = subprocess.run([tool, 'check', 'rules', DOCS / 'alerts.yml'], capture_output=True)
    assert rules.returncode == 0, rules
    checked = subprocess.run(
        [tool, 'check', 'metrics'], input=exposed, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stderr) == (0, ''), checked


def test_rules_have_what_prometheus_wants_of_them():
    """As far as it can be seen without promtool."""
    (group,) = yaml.safe_load((DOCS / 'alerts.yml').read_text())['groups']
    names = [rule['alert'] for rule in group['rules']]
    assert len(set(names)) == len(names)
    for rule in group['rules']:
        assert rule.keys() <= {'alert', 'expr', 'for', 'labels', 'annotations'}
        assert rule['labels']['severity'] in ('page', 'ticket')
        assert rule['annotations']['summary'].endswith('.')
