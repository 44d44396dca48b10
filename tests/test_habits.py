"""Files about working on the project name commands and files that exist, and can be read."""

import re
import tomllib
import warnings
from configparser import ConfigParser

import pytest
import torch
import yaml
from mmseg.registry import MODELS

from mmseg_faseg import __version__
from mmseg_faseg.models.decoders.layer_view import FeatureLevel, LayerView
from tests.helpers.tools import REPOSITORY

YAML = [
    *sorted(REPOSITORY.glob('.github/**/*.yml')),
    REPOSITORY / '.pre-commit-config.yaml',
    REPOSITORY / 'CITATION.cff',
]
PAGES = [
    REPOSITORY / name
    for name in ('README.md', 'CONTRIBUTING.md', '.github/PULL_REQUEST_TEMPLATE.md')
]
PACKAGE = 'mmseg_faseg'
MAKEFILE = (REPOSITORY / 'Makefile').read_text()
TARGETS = set(re.search(r'^\.PHONY: (.*)$', MAKEFILE, re.M)[1].split())


def read(name):
    return yaml.safe_load((REPOSITORY / name).read_text())


def targets_in(text):
    """What follows ``make`` where that is a command: in code, or at the start of a line."""
    return set(re.findall(r'(?:^|[`|&;] ?|\w=\S+ )make ([a-z][\w-]*)', text, re.M))


@pytest.mark.parametrize('file', YAML, ids=lambda file: file.name)
def test_it_parses(file):
    assert isinstance(yaml.safe_load(file.read_text()), dict)


def test_targets_are_rules_of_the_makefile():
    for target in TARGETS:
        assert re.search(rf'^{target}:', MAKEFILE, re.M), target
    assert {'env', 'lint', 'test', 'test-fast', 'test-nightly', 'demo', 'compat'} <= TARGETS


@pytest.mark.parametrize('file', [*PAGES, REPOSITORY / '.ci/run'], ids=lambda file: file.name)
def test_make_targets_exist(file):
    named = targets_in(file.read_text())
    assert named and named <= TARGETS


def test_the_workflow_runs_targets_on_both_pythons():
    workflow = read('.github/workflows/ci.yml')
    named, pythons = set(), set()
    for job in workflow['jobs'].values():
        matrix = job.get('strategy', {}).get('matrix', {})
        pythons |= set(matrix.get('python', []))
        for step in job['steps']:
            pythons |= {step.get('with', {}).get('python-version')} - {None}
            command = step.get('run', '').replace('${{ matrix.target }}', '{}')
            for target in matrix.get('target', [None]):
                named |= targets_in(command.format(target))
    assert named == {'docs', 'lint', 'test', 'test-fast', 'test-nightly'}
    pythons = {python for python in pythons if '{' not in python}
    setup = ConfigParser()
    setup.read(REPOSITORY / 'setup.cfg')
    supported = re.findall(r'Python :: (3\.\d+)', setup['metadata']['classifiers'])
    assert pythons == set(supported)


def test_hooks_run_what_lint_runs():
    (repo,) = read('.pre-commit-config.yaml')['repos']
    assert repo['repo'] == 'local'
    lint = MAKEFILE.split('\nlint:')[1].split('\n\n')[0]
    tools = {tuple(line.split()[:2]) for line in lint.splitlines()[1:]}
    hooks = {tuple(hook['entry'].split()[:2]) for hook in repo['hooks']}
    assert hooks == tools


def test_every_tool_of_lint_and_tests_is_an_extra():
    setup = ConfigParser()
    setup.read(REPOSITORY / 'setup.cfg')
    extras = set(re.findall(r'^[\w-]+', setup['options.extras_require']['tests'], re.M))
    tools = set(re.findall(r'\.venv/bin/(?:python -m )?(\w+)', MAKEFILE)) - {'python'}
    assert tools == {'pytest', 'ruff', 'mypy', 'nox', 'mkdocs'}
    tools -= {'mkdocs'}  # a part of mkdocs-material
    assert {*tools, 'pytest-xdist', 'pyyaml'} <= extras


def test_make_env_installs_every_extra():
    setup = ConfigParser()
    setup.read(REPOSITORY / 'setup.cfg')
    installed = re.search(r'extras=(\S+)', (REPOSITORY / 'tools/install.sh').read_text())[1]
    assert set(installed.split(',')) == set(setup['options.extras_require'])


@pytest.mark.parametrize('category', [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
def test_a_deprecation_in_our_code_fails_its_test(category):
    """Of what it calls, and so attributed to the caller."""

    def deprecated():
        warnings.warn('use another', category, stacklevel=2)

    for module in ('mmseg_faseg.models.x', 'tools.x', 'tests.x', '__main__'):
        with pytest.raises(category):
            exec('deprecated()', dict(__name__=module, deprecated=deprecated))
    exec('deprecated()', dict(__name__='mmdet.models.x', deprecated=deprecated))


def test_fast_leaves_out_every_mark():
    settings = tomllib.loads((REPOSITORY / 'pyproject.toml').read_text())
    marks = {mark.split(':')[0] for mark in settings['tool']['pytest']['ini_options']['markers']}
    fast = re.search(r"^test-fast:.*\n.*-m 'not \((.*)\)'$", MAKEFILE, re.M)[1]
    assert set(fast.split(' or ')) == marks
    assert re.search(r"^test:.*\n.*-m 'not nightly'$", MAKEFILE, re.M)
    page = (REPOSITORY / 'CONTRIBUTING.md').read_text()
    assert [mark for mark in marks if f'`{mark}`' not in page] == []


@pytest.mark.parametrize(
    'page',
    [REPOSITORY / 'README.md', *sorted(REPOSITORY.glob('docs/*.md'))],
    ids=lambda page: page.name,
)
def test_files_that_pages_name_exist(page):
    path = r'(?<![\w/.-])((?:tests|tools|configs|mmseg_faseg|models)/[\w./*-]*\w)'
    named = re.findall(path, page.read_text())
    roots = REPOSITORY, REPOSITORY / PACKAGE
    assert [path for path in named if not any(any(root.glob(path)) for root in roots)] == []


def test_files_that_contributing_names_exist():
    page = (REPOSITORY / 'CONTRIBUTING.md').read_text()
    named = set(re.findall(r'`([\w.-]+/[\w./-]*|\w+\.md)`', page))
    named |= set(re.findall(r'^pytest.* (tests/\S+)', page, re.M))
    assert len(named) > 10
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


def test_rooms_that_contributing_draws_exist():
    page = (REPOSITORY / 'CONTRIBUTING.md').read_text()
    tree = page.split('## Where things go')[1].split('```')[1]
    folders, drawn = [], []
    for line in tree.strip('\n').splitlines():
        depth = (len(line) - len(line.lstrip())) // 4
        names = re.match(r' *((?:[\w.]+(?:/|\.py) *)+)', line)[1].split()
        drawn += ['/'.join([*folders[:depth], name.rstrip('/')]) for name in names]
        folders[depth:] = [names[0].rstrip('/')]
    assert 'mmseg_faseg/models/decoders' in drawn and 'mmseg_faseg/files.py' in drawn
    assert [path for path in drawn if not (REPOSITORY / path).exists()] == []
    rooms = {path.parent.name for path in (REPOSITORY / 'mmseg_faseg').glob('*/__init__.py')}
    assert rooms <= {path.split('/')[1] for path in drawn if path.startswith('mmseg_faseg/')}


def test_the_positional_query_of_contributing_works():
    page = (REPOSITORY / 'CONTRIBUTING.md').read_text()
    source = page.split('## Add a positional query')[1].split('```python\n')[1].split('```')[0]
    exec(source, {'__name__': 'contributing'})
    query = MODELS.build(dict(type='StrongestPixelQuery', embed_dims=8))
    tokens = torch.randn(1, 6, 8)
    focus = torch.rand(2, 3, 6)
    level = FeatureLevel(tokens, tokens, torch.zeros(8), (2, 3))
    view = LayerView(level, level, torch.randn(2, 3, 8), None, None, None, 0.0, focus)
    assert torch.equal(query.first(view), view.query_embed)
    position = query.next(view)
    for image in range(2):
        assert torch.equal(position[image], tokens[0, focus[image].argmax(-1)])


def test_the_citation_is_of_this_version_and_the_paper():
    citation = read('CITATION.cff')
    assert citation['cff-version'] == '1.2.0'
    assert citation['version'] == __version__
    assert {'message', 'title', 'authors', 'license'} <= citation.keys()
    paper = citation['preferred-citation']
    readme = (REPOSITORY / 'README.md').read_text()
    assert f'title={{{paper["title"]}}}' in readme
    authors = [f'{a["family-names"]}, {a["given-names"]}' for a in paper['authors']]
    assert f'author={{{" and ".join(authors)}}}' in readme
    assert f'year={{{paper["year"]}}}' in readme
