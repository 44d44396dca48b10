"""The configuration reference has everything that a config can name."""

import re

import pytest
from mmdet import registry as mmdet_registry
from mmengine import registry as mmengine_registry
from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

from tests.helpers.tools import REPOSITORY

PAGES = '\n'.join(page.read_text() for page in (REPOSITORY / 'docs/reference').glob('*.md'))


def registered():
    """Types of ours by the name that a config calls them."""
    found = {}
    for module in (mmengine_registry, mmseg_registry, mmdet_registry):
        for registry in vars(module).values():
            if isinstance(registry, Registry):
                found |= {
                    f'{kind.__module__}.{kind.__name__}': kind
                    for kind in registry.module_dict.values()
                    if kind.__module__.startswith('mmseg_faseg.')
                }
    return found


def test_every_registered_type_is_in_the_reference():
    named = set(re.findall(r'^::: (\S+)$', PAGES, re.MULTILINE))
    assert registered().keys() <= named


@pytest.mark.parametrize('kind', registered().values(), ids=lambda kind: kind.__name__)
def test_what_the_reference_shows_is_documented(kind):
    assert kind.__doc__


def test_every_page_can_be_reached():
    """Pages lie in the navigation of mkdocs.yml."""
    navigation = (REPOSITORY / 'mkdocs.yml').read_text()
    pages = {
        str(page.relative_to(REPOSITORY / 'docs')) for page in (REPOSITORY / 'docs').rglob('*.md')
    }
    assert {page for page in pages if page not in navigation} == set()
