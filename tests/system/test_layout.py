"""The walls of the house.

Who may import whom, how big a room may be, and that no door stands open.
"""

import ast
import importlib
import re
import shlex
import subprocess
import sys
from collections import Counter

import pytest
from honcho.environ import parse_procfile

from service import PACKAGES
from service.runtime.queues import DRAINS
from tests.stack import ROOT
from workers.__main__ import ROOMS, load

WEB = sorted((ROOT / 'service' / 'web').rglob('*.py'))
CORE = sorted(set((ROOT / 'service').rglob('*.py')) - set(WEB))
WORKERS = sorted((ROOT / 'workers').glob('*.py'))
OURS = [*CORE, *WEB, *WORKERS, ROOT / 'wsgi.py']
SIMULATOR = sorted((ROOT / 'tests' / 'simulator').glob('*.py'))
OUTBOUND = {
    'service/events/endpoint_client.py',
    'service/runtime/bounded_answer.py',
    'service/graph/connections.py',
    'service/graph/client.py',
    'service/graph/management_client.py',
    'service/graph/multipart.py',
    'service/graph/media_client.py',
    'service/graph/pass_through.py',
    'service/runtime/deadline.py',
    'service/runtime/public_address.py',
    'service/replies/responder_client.py',
    'service/web/commands/listen.py',
}  # the clients that speak to the outside


def name_of(path):
    return str(path.relative_to(ROOT))


def tree_of(path):
    return ast.parse(path.read_text())


def imports(path):
    """Every module that a file imports anywhere in it, dotted.

    Of `from a import b` both a and a.b.
    """
    package = '.'.join(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = f'{package}.{node.module or ""}'.rstrip('.') if node.level else node.module
            yield module
            yield from (f'{module}.{alias.name}' for alias in node.names)


def importers(paths, *modules):
    """The files that import one of the modules or a part of it."""
    return {
        name_of(path)
        for path in paths
        if any(
            found == module or found.startswith(f'{module}.')
            for found in imports(path)
            for module in modules
        )
    }


def package_of(path):
    return path.relative_to(ROOT / 'service').parts[0]


def test_every_file_of_the_core_stands_in_a_package_of_the_map():
    flat = [name_of(path) for path in (ROOT / 'service').glob('*.py')]
    assert flat == ['service/__init__.py']
    folders = {package_of(path) for path in (ROOT / 'service').glob('*/*.py')}
    assert folders == set(PACKAGES)


def test_a_package_imports_only_packages_below_it():
    runs_up = []
    for path in (ROOT / 'service').glob('*/*.py'):
        allowed = PACKAGES[: PACKAGES.index(package_of(path)) + 1]
        above = {f'service.{name}' for name in PACKAGES if name not in allowed}
        found = {'.'.join(module.split('.')[:2]) for module in imports(path)}
        runs_up += [f'{name_of(path)} -> {package}' for package in sorted(above & found)]
    assert runs_up == []


def modules_imported(path, known):
    """The modules of ours that a file imports, by an import statement or by importlib."""
    found = {module for module in imports(path) if module in known}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and getattr(node.func, 'attr', '') == 'import_module':
            found |= {
                argument.value
                for argument in node.args
                if getattr(argument, 'value', None) in known
            }
    return found


def circles(graph):
    """Every way that leads from a module back to itself, as text."""
    done, found = set(), []

    def walk(module, way):
        if module in way:
            found.append(' -> '.join([*way[way.index(module) :], module]))
        elif module not in done:
            for other in sorted(graph[module]):
                walk(other, [*way, module])
            done.add(module)

    for module in sorted(graph):
        walk(module, [])
    return found


def test_no_file_imports_itself_on_a_way_round():
    files = {'.'.join(path.relative_to(ROOT).with_suffix('').parts): path for path in OURS}
    assert circles({module: modules_imported(path, files) for module, path in files.items()}) == []


def test_a_circle_would_be_found():
    assert circles({'a': {'b'}, 'b': {'c'}, 'c': {'b'}}) == ['b -> c -> b']


def strings(path):
    """Every string of a file, an f-string as one with {} for what is put in."""
    tree = tree_of(path)
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield ''.join(
                part.value if isinstance(part, ast.Constant) else '{}' for part in node.values
            )
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
        ):
            yield node.value


UPDATES_MESSAGE = re.compile(
    r'\bUPDATE\s+(?:ONLY\s+)?"?message"?(?:\s+(?:AS\s+)?(?!SET\b)\w+)?\s+SET\b(.*)',
    re.IGNORECASE | re.DOTALL,
)
SETS_STATUS = re.compile(
    r'(?:^|,)\s*(?:"?status"?\s*=|\([^()]*\bstatus\b[^()]*\)\s*=)', re.IGNORECASE
)


def moves_a_message(statement):
    """Whether a string is, or has in it, an UPDATE that sets message.status."""
    found = UPDATES_MESSAGE.search(statement)
    return bool(found and SETS_STATUS.search(found[1]))


def test_only_sending_moves_a_message():
    """Wherever else something happens to messages, the module of service/sending that does it is
    called.
    """
    movers = {name_of(path) for path in OURS if any(map(moves_a_message, strings(path)))}
    assert 'service/sending/holds.py' in movers
    assert {name for name in movers if not name.startswith('service/sending/')} == set()


@pytest.mark.parametrize(
    ('statement', 'moves'),
    [
        ("UPDATE message SET status = 'held' WHERE id = %s", True),
        ('update message as m\nset updated_at = now(),\n  status = n.status FROM n', True),
        (
            'WITH done AS (UPDATE message m SET (status, due_at) = (n.status, NULL) FROM n) '
            'SELECT 1',
            True,
        ),
        ("UPDATE message SET due_at = now() WHERE status = 'queued'", False),
        ("UPDATE message m SET wamid = CASE m.status WHEN 'sent' THEN m.wamid END", False),
        ("UPDATE message_status SET status = 'sent'", False),
        ("UPDATE media SET status = 'stored', message_id = NULL", False),
    ],
)
def test_a_statement_that_moves_a_message_would_be_found(statement, moves):
    assert moves_a_message(statement) == moves


BY_POSITION = re.compile(r'\bunnest\s*\(\s*%s', re.IGNORECASE)


def test_many_rows_are_bound_by_the_names_of_their_fields():
    """Else a column in the middle breaks a statement silently: service/runtime/rows.py."""
    assert [name_of(path) for path in OURS if any(map(BY_POSITION.search, strings(path)))] == []
    assert BY_POSITION.search('FROM unnest(%s::uuid[], %s::text[]) AS n (id, name)')


COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def nested_comprehensions(tree):
    """The lines of comprehensions that stand in another one."""
    return [
        inner.lineno
        for outer in ast.walk(tree)
        if isinstance(outer, COMPREHENSIONS)
        for inner in ast.walk(outer)
        if inner is not outer and isinstance(inner, COMPREHENSIONS)
    ]


def test_no_comprehension_stands_in_another_one():
    found = {name_of(path): nested_comprehensions(tree_of(path)) for path in OURS}
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert nested_comprehensions(ast.parse('[[b for b in a] for a in c]')) == [1]


def hand_formatted(path):
    """(line, how far it is indented) of each statement that ruff is told to leave alone."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.rstrip().endswith('# fmt: skip'):
            yield number, len(line) - len(line.lstrip())


def test_only_tables_of_data_are_formatted_by_hand():
    """They stand at the top of a module, and there are few."""
    found = {name_of(path): list(hand_formatted(path)) for path in OURS}
    assert [name for name, lines in found.items() if any(indent for _, indent in lines)] == []
    assert sum(map(len, found.values())) <= 12


def test_the_front_door_is_imported_by_wsgi_and_itself_alone():
    assert importers([*CORE, *WORKERS], 'service.web') == set()
    assert 'wsgi.py' in importers(OURS, 'service.web')


def test_the_back_room_is_imported_by_nobody():
    assert importers([*CORE, *WEB, ROOT / 'wsgi.py'], 'workers') == set()


def test_flask_lives_in_the_front_door_alone():
    assert importers([*CORE, *WORKERS], 'flask', 'werkzeug', 'gunicorn', 'click') == set()


def test_only_the_outbound_clients_speak_http():
    assert importers(OURS, 'requests', 'urllib3', 'http.client', 'urllib.request') == OUTBOUND


def test_rq_is_known_to_the_queues_and_the_entry_of_the_workers():
    assert importers(OURS, 'rq') == {'service/runtime/queues.py', 'workers/__main__.py'}


def test_pickle_is_nowhere():
    assert importers(OURS, 'pickle', 'shelve', 'marshal') == set()


ENVIRONMENT = ('environ', 'getenv', 'environb')


def test_the_environment_is_read_in_config_alone():
    readers = set()
    for path in OURS:
        for node in ast.walk(tree_of(path)):
            is_named = isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT
            if is_named and getattr(node.value, 'id', '') != 'request':  # that is WSGI's
                readers.add(name_of(path))
    assert readers == {'service/runtime/config.py'}
    assert importers(OURS, 'os.environ', 'os.getenv') == set()


def test_the_simulator_and_we_know_nothing_of_each_other():
    assert (
        importers(
            SIMULATOR, 'service', 'workers', 'wsgi', 'tests.people', 'tests.stack', 'tests.conftest'
        )
        == set()
    )
    assert importers(OURS, 'tests') == set()


def test_imports_stand_at_the_top():
    for path in OURS:
        tree = tree_of(path)
        inside = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom) and node.col_offset
        ]
        assert inside == [], name_of(path)


def test_every_room_begins_with_what_it_is_for():
    for path in (*CORE, *WEB, *WORKERS):
        assert ast.get_docstring(tree_of(path)), name_of(path)


@pytest.mark.parametrize('path', [*CORE, *WEB, *WORKERS], ids=name_of)
def test_files_have_300_lines_and_functions_40_at_most(path):
    assert len(path.read_text().splitlines()) <= 300
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 40, f'{name_of(path)}:{node.lineno} {node.name}'


def test_no_file_has_a_name_that_says_nothing_and_no_two_the_same():
    names = Counter(path.name for path in (*CORE, *WEB, *WORKERS) if path.name != '__init__.py')
    assert not {
        'utils.py',
        'util.py',
        'helpers.py',
        'helper.py',
        'base.py',
        'common.py',
        'misc.py',
    } & set(names)
    assert [name for name, count in names.items() if count > 1] == []


def test_every_queue_is_drained_by_an_entry_of_the_procfile():
    entries = parse_procfile((ROOT / 'Procfile').read_text()).processes
    commands = [shlex.split(command) for command in entries.values()]
    rooms = {
        room
        for command in commands
        if command[:3] == ['python', '-m', 'workers']
        for room in command[3:]
    }
    assert {queue for room, queue in ROOMS.items() if room in rooms} == set(DRAINS)
    assert 'clock' in rooms


def test_every_drain_is_where_its_name_says():
    for queue, dotted in DRAINS.items():
        module, _, function = dotted.rpartition('.')
        found = importlib.import_module(module)
        assert callable(getattr(found, function))
        assert any(load(name) is found and own == queue for name, own in ROOMS.items())


@pytest.mark.parametrize('name', ['send', 'clock'])
def test_a_worker_that_has_a_process_for_itself_loads_no_other(name):
    """Each of them would take some MiB in every process."""
    program = (
        f"import sys, workers.__main__ as entry; entry.load('{name}'); "
        "print(*sorted(m for m in sys.modules if m.startswith(('workers.', 'puremagic'))))"
    )
    command = [sys.executable, '-c', program]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rooms = {load(room).__name__ for room in (*ROOMS, 'clock')}
    assert rooms & set(loaded.stdout.split()) == {load(name).__name__}
    assert 'puremagic' not in loaded.stdout


def test_importing_a_room_reads_no_environment_and_opens_nothing():
    """Only the front door's entries check the environment at import; nothing else does anything
    then.
    """
    for path in (*CORE, *WORKERS):
        for node in tree_of(path).body:
            called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            assert not called, f'{name_of(path)}:{node.lineno}'


OPEN = {'/healthz', '/readyz', '/whatsapp-cloud/webhook', '/whatsapp-cloud/webhook/<chatbot_id>'}
VIEWER = 'documents.api_page_part'  # Swagger UI: says nothing of this gateway
ID = '01930000-0000-7000-8000-000000000000'


def doors(application):
    """(method, path) of every guarded route."""
    for rule in application.url_map.iter_rules():
        is_page = rule.endpoint.startswith('dashboard_')  # tests/web/test_dashboard_doors.py
        if rule.rule not in OPEN and rule.endpoint != VIEWER and not is_page:
            values = dict.fromkeys(rule.arguments, ID) | {'version': 'v26.0'}
            path = rule.build(values)[1]
            yield from ((method, path) for method in rule.methods)


KEYS = [
    None,
    '',
    'Bearer',
    'Bearer ',
    'Bearer wrong',
    'Basic dGVzdC1rZXk=',
    'test-key',
    'Bearer test-key,second-key',
    'Bearer tést',
    'Bearer TEST-KEY',
]


@pytest.mark.parametrize('key', KEYS)
def test_every_route_but_the_webhook_and_health_needs_a_key(application, key):
    headers = {} if key is None else {'Authorization': key}
    tried = list(doors(application))
    assert len(tried) > 20
    for method, path in tried:
        answer = application.test_client().open(path, method=method, headers=headers)
        assert answer.status_code == 401, (method, path)
        is_metas = re.match(r'/(?:graph/)?v\d', path)
        error = 'application/json; charset=UTF-8' if is_metas else 'application/problem+json'
        assert answer.content_type == error
        assert 'test-key' not in answer.text


@pytest.mark.parametrize(
    'key', ['Bearer test-key', 'Bearer second-key', 'bearer test-key', 'Bearer  test-key ']
)
def test_each_of_the_keys_opens_every_door(application, database, key):
    for method, path in doors(application):
        if method in ('GET', 'POST'):
            answer = application.test_client().open(
                path, method=method, headers={'Authorization': key}
            )
            assert answer.status_code in (200, 404, 415, 422), (method, path, answer.text)


def test_what_is_not_there_needs_a_key_too(application, database):
    """A stranger learns nothing of which addresses exist."""
    for method, path in (('GET', '/nowhere'), ('GET', '/messages/abc'), ('PUT', '/send')):
        path = f'/whatsapp-cloud{path}'
        client = application.test_client()
        assert client.open(path, method=method).status_code == 401, path
        known = client.open(path, method=method, headers={'Authorization': 'Bearer test-key'})
        assert known.status_code in (404, 405)
        assert known.content_type == 'application/problem+json'
