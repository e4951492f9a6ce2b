"""Arrows point down only: the imports of every module are read and held to the layers."""

import ast
import inspect
import pathlib

import apache_beam as beam
import pytest

import rasteret_beam

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rasteret_beam"
LAYERS = [
    {"elements", "errors", "iso_times", "memory", "once"},
    {"grid", "tiff", "storage", "options", "json_values"},
    {"schema", "arrow_types"},
    {"points", "collection", "sampling", "planning", "fetching", "output", "reporting",
     "point_files", "bigquery", "replaying", "mixed_types", "forecast", "row_sums"},
    {"messages"},
    {"indexing"},
    {"local"},
    {"companion"},
    {"transforms"},
    {"runners", "yaml"},
]  # fmt: skip
"""From the bottom up; a module may import from its own layer and from those below."""

APART = [
    {"grid", "tiff", "storage"}, {"collection", "planning", "sampling", "points"},
    {"replaying", "fetching"}, {"replaying", "collection"},
]  # fmt: skip
"""Parts of one layer that must not know each other."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def _part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path):
    """Dotted names that a module imports, also those for type checking only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _parts_imported(path):
    for name in _imports(path):
        pieces = name.split(".")
        if pieces[0] == "rasteret_beam" and len(pieces) > 1 and pieces[1] in LEVEL:
            yield pieces[1]


MODULES = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem[0] != "_"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_its_own_layer_or_below(path):
    own = LEVEL[_part(path)]
    assert [part for part in _parts_imported(path) if LEVEL[part] > own] == []


@pytest.mark.parametrize("parts", APART, ids=lambda parts: "-".join(sorted(parts)))
def test_these_parts_do_not_know_each_other(parts):
    seen = {
        (_part(path), part)
        for path in MODULES
        if _part(path) in parts
        for part in _parts_imported(path)
        if part in parts and part != _part(path)
    }
    assert seen == set()


def test_only_transforms_runners_yaml_and_pipelines_import_beam():
    found = {_part(p) for p in MODULES for n in _imports(p) if n.split(".")[0] == "apache_beam"}
    assert found <= {"transforms", "runners", "yaml"}


def test_transforms_keep_their_annotations_real():
    # Beam reads them to choose coders.
    deferred = [
        path.name
        for folder in ("transforms", "yaml")
        for path in (PACKAGE / folder).glob("*.py")
        if "__future__" in set(_imports(path))
    ]
    assert deferred == []


def test_pipelines_hold_no_dofn():
    for path in (ROOT / "pipelines").glob("*.py"):
        assert "DoFn" not in path.read_text(encoding="utf-8")


def test_every_module_says_what_it_is_for():
    for path in MODULES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_the_package_names_every_public_transform():
    public = [getattr(rasteret_beam, name) for name in rasteret_beam.__all__]
    transforms = [one.__name__ for one in public
                  if inspect.isclass(one) and issubclass(one, beam.PTransform)]  # fmt: skip
    told = rasteret_beam.__doc__
    assert len(transforms) > 20
    assert [name for name in transforms if f"``{name}``" not in told] == []
