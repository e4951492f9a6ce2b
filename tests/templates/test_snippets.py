"""What a README gives to copy is right as far as a machine without a cloud can tell."""

import ast
import json
import re
import shutil
import subprocess

import hcl2
import pytest
from google.cloud import dataflow_v1beta3 as service
from google.protobuf import json_format

from templates.make import HERE, ROOT, templates

TEMPLATES = {template.name: template for template in templates()}
READMES = [HERE / "README.md", *(HERE / name / "README.md" for name in TEMPLATES)]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(language, text, id=f"{path.parent.name}-{place}-{language}")
    for path in READMES
    for place, (language, text) in enumerate(FENCE.findall(path.read_text(encoding="utf-8")))
]


def _blocks(name, language):
    text = (HERE / name / "README.md").read_text(encoding="utf-8")
    return [block for kind, block in FENCE.findall(text) if kind == language]


def _bash(*words, stdin=""):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    done = subprocess.run(  # noqa: S603 -- our own README's text
        [bash, *words], input=stdin, capture_output=True, text=True, check=True,
    )
    return done.stdout


@pytest.mark.parametrize(("language", "text"), BLOCKS)
def test_a_snippet_parses(language, text):
    if language == "sh":
        _bash("-n", stdin=text)
    else:
        {"python": ast.parse, "json": json.loads, "hcl": hcl2.loads}[language](text)


@pytest.mark.parametrize("name", TEMPLATES)
def test_there_is_a_snippet_for_every_place_to_launch_from(name):
    batch = not TEMPLATES[name].streaming
    found = {kind: len(_blocks(name, kind)) for kind in ("sh", "python", "json", "hcl")}
    assert found == {"sh": 3 if batch else 1, "python": 1, "json": int(batch), "hcl": 1}


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_service_knows_every_field_of_a_request(name):
    bodies = [json.loads(text) for text in _blocks(name, "json")]
    (dag,) = _blocks(name, "python")
    bodies += [
        ast.literal_eval(word.value)
        for call in ast.walk(ast.parse(dag))
        if isinstance(call, ast.Call)
        for word in call.keywords
        if word.arg == "body"
    ]
    assert bodies
    for body in bodies:
        request = json_format.ParseDict(body, service.LaunchFlexTemplateRequest.pb()())
        assert dict(request.launch_parameter.parameters) == dict(TEMPLATES[name].example)


@pytest.mark.parametrize("name", TEMPLATES)
def test_terraform_gives_the_parameters_of_the_example(name):
    (block,) = hcl2.loads(_blocks(name, "hcl")[0])["resource"]
    found = json.dumps(block)
    for key, value in TEMPLATES[name].example.items():
        assert key in found
        assert json.dumps(value)[1:-1] in found or json.dumps(json.dumps(value))[3:-3] in found


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_shell_passes_the_parameters_of_the_example(name):
    script = _blocks(name, "sh")[0].replace("gcloud ", "printf '%s\\n' ", 1)
    told = _bash("-c", script)
    for key, value in TEMPLATES[name].example.items():
        assert f"--parameters={key}={value}\n" in told


def test_every_template_is_in_the_overview():
    overview = (HERE / "README.md").read_text(encoding="utf-8")
    assert all(f"({name}/README.md)" in overview for name in TEMPLATES)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_links_lead_to_files(path):
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []
    assert all((path.parent / link).resolve().is_relative_to(ROOT) for link in links)
