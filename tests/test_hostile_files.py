"""Recipes, models and templates designed to exhaust the program each give one clear error within about a second."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bessemer.errors import InputError, RecipeError
from bessemer.model.folder import weight_files
from bessemer.model.hub import check_model, load_config
from bessemer.recipe.yaml import MAX_DEPTH, parse, parse_value
from bessemer.runner.plan import load_recipe
from bessemer.tokens import chat_jinja, template_process

STAGES = "stages:\n  ingest: {paths: [documents]}\n"


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Limits the CPU time of a test, not its wall-clock time, because the machines are shared. The first test imports
    modules too."""
    began = time.process_time()
    yield
    assert time.process_time() - began < 10


def problems(tmp_path: Path, text: str, *assignments: str) -> str:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError) as raised:
        load_recipe(tmp_path / "recipe.yaml", assignments)
    return str(raised.value)


ALIASES = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"name: x\nseed: {'9' * 5000}\n{STAGES}", "recipe.yaml:2: `seed`: Unable to parse"),
        (f"name: x\nseed: 0x{'f' * 5000}\n{STAGES}", "recipe.yaml:2: `seed` should be a valid integer"),
        (f"name: x\nseed: {'[' * 3000}{']' * 3000}\n{STAGES}", f"nested more than {MAX_DEPTH}"),
        (f"name: x\nseed: {'[' * 100_000}\n", "levels deep"),
        (f"name: x\nseed: {'{a: ' * 3000}{'}' * 3000}\n{STAGES}", "levels deep"),
        (f"name: x\nseed:\n  {'- ' * 3000}a\n{STAGES}", "levels deep"),
        (f"a: &a [x, x, x]\n{ALIASES}name: x\n{STAGES}", "it holds more than 20000 values"),
        ("name: x\n" + "a: 1\n" * 20_000 + STAGES, "it holds more than 20000 values"),
        (f"name: x\ndescription: {'x' * 2_000_000}\n{STAGES}", "characters, more than 1000000"),
        (f"name: &a [*a]\n{STAGES}", "a value that contains itself"),
        ("name: x\nstages:\n" + "".join(f"  a{n}: {{}}\n" for n in range(3000)), "... and 2950 more"),
        ("name: x\nstages:\n  pretrain: {model: {num_hidden_layers: 1000000000, sliding_window: 8}}\n", " 1024"),
        ("name: x\nstages:\n  pretrain: {model: {hidden_size: 100000000000}}\n", "largest supported 1048576"),
    ],
)  # fmt: skip
def test_recipes(tmp_path: Path, text: str, message: str) -> None:
    found = problems(tmp_path, text)
    assert message in found
    assert len(found) < 30_000


@pytest.mark.parametrize(
    "assignment",
    [f"seed={'9' * 5000}", f"ingest.{'9' * 5000}=1", "ingest.paths.²=1", f"ingest.paths={'[' * 3000}{']' * 3000}"],
)
def test_assignments(tmp_path: Path, assignment: str) -> None:
    assert "command line" in problems(tmp_path, f"name: x\n{STAGES}", assignment)


def test_ordinary_values_are_within_the_limits() -> None:
    assert parse(f"a: [{', '.join(map(str, range(10_000)))}]").value == {"a": list(range(10_000))}
    assert parse("a: &a [1, 2]\nb: *a\n").value == {"a": [1, 2], "b": [1, 2]}
    assert parse_value(str(10**900)) == 10**900


CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 100,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize(
    "changes",
    [
        *({"num_hidden_layers": value} for value in (10**9, -1, 0, "2", [2], 1.5, True, {})),
        {"num_hidden_layers": 10**9, "use_sliding_window": True, "sliding_window": 8},
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": "x"},
        {"use_sliding_window": True, "sliding_window": 8, "layer_types": 5},
        *({"num_attention_heads": value} for value in (0, "x", 10**9, [])),
        *({"hidden_size": value} for value in ("x", 10**12, [], None)),
        *({"architectures": value} for value in ("LlamaForCausalLM", {}, 5, [5], [[]])),
        *({"rope_parameters": value} for value in ("x", 5, [1], {"rope_type": []}, {"rope_type": "llama3", "x": []})),
        *({"rope_theta": value} for value in ("x", [], -1, 1e400)),
        {"vocab_size": 10**18},
        {"tie_word_embeddings": "x"},
    ],
    ids=repr,
)  # fmt: skip
def test_configurations_of_models(tmp_path: Path, changes: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | changes))
    with pytest.raises(InputError):
        load_config(tmp_path)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a": ' * 100_000, "9" * 5000, '{"vocab_size": %s}' % ("9" * 5000), "\0", ""]
)
def test_json_files_of_models(tmp_path: Path, content: str) -> None:
    for name in ("config.json", "model.safetensors.index.json"):
        (tmp_path / name).write_text(content)
    for read in (load_config, weight_files):
        with pytest.raises(InputError):
            read(tmp_path)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": 5}, "is not an index"),
        ({"a": 5, "b": "model-1.safetensors"}, "is not an index"),
        ({"a": ["x"]}, "is not an index"),
        (["a"], "is not an index"),
        ({"a": "../other/model.safetensors"}, "outside its folder"),
        ({"a": "/etc/passwd"}, "outside its folder"),
        ({"a": "x/../../y"}, "outside its folder"),
        ({"a": "a\0b"}, "outside its folder"),
        ({"a": ""}, "outside its folder"),
    ],
)
def test_indexes_of_weights(tmp_path: Path, weight_map: Any, message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for read in (weight_files, check_model):
        with pytest.raises(InputError, match=message):
            read(tmp_path)


LOOPS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for a in [1] * 9 recursive %}{{ loop([1] * 9) }}{% endfor %}",
    "{% for a in range(999999999) %}{% endfor %}",
    "{{ 'x' * 9999999999 }}",
    "{% set n = 9999999999 %}{{ 'x' * n }}{{ [1] * n }}",
    "{{ 9 ** 99999999 }}",
    "{% set n = 99999 %}{{ n ** n }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% if a %}" * 500 + "{% endif %}" * 500,
    "{% for a in b %}" * 100 + "{% endfor %}" * 100,
]


GROWTH = [
    "{{ ''.ljust(9999999999) }}",
    "{{ 'x'|center(9999999999) }}",
    "{{ '{:9999999999}'.format(1) }}",
    "{{ '\t'.expandtabs(9999999999) }}",
    "{{ ['x'] | batch(9999999999, 'x') | list }}",
    "{% set a = namespace(b='x' * 999) %}{% for c in range(99) %}{% set a.b = a.b ~ a.b %}{% endfor %}",
    "{% set a = namespace(b=[1]) %}{% for c in range(99) %}{% set a.b = a.b + a.b %}{% endfor %}",
    "{% set a = namespace(b=[1]) %}{% for c in range(99) %}{% set a.b = [a.b, a.b] %}{% endfor %}{{ a.b }}",
    "{% set a = namespace(b=[1]) %}{% for c in range(99) %}{% set a.b = [a.b, a.b] %}{% endfor %}{{ a.b | tojson }}",
    "{% set a = 'x' * 9999999 %}{% for b in range(9999) %}{{ a }}{% endfor %}",
    "{% set a = 'x' * 9999999 %}{{ ([a] * 9999) | join }}",
    "{% set a = 'x' * 9999999 %}{{ a.replace('x', a) }}",
    "{% set a = 'x' * 9999999 %}{% for b in range(99999) %}{% set c = a.upper() %}{% endfor %}",
]
"""Templates that fill the memory, or compute for hours, in few steps."""


@pytest.mark.parametrize("template", LOOPS + GROWTH)
def test_templates_of_chats(template: str) -> None:
    with pytest.raises(template_process.REFUSALS):
        template_process.render(template, [{"role": "user", "content": "x"}], {})
    assert template_process.render("{{ messages[0].content }}", [{"role": "user", "content": "x"}], {}).text == "x"


@pytest.mark.parametrize("template", LOOPS[:9])
def test_the_steps_of_a_template_are_limited(template: str) -> None:
    with pytest.raises(chat_jinja.REFUSALS):
        chat_jinja.render(template, [{"role": "user", "content": "x"}], {})


def test_ordinary_templates_are_within_the_limits() -> None:
    messages = [{"role": "user", "content": str(number)} for number in range(20_000)]
    template = (
        "{% macro m(x) %}{{ x }}{% endmacro %}{% for message in messages %}{% if not loop.last %}"
        "{{ m(message.content) }}{{ '-' * 3 }}{{ 2 ** 3 }}{{ '%5d' % 1 }}{% endif %}{% endfor %}"
    )
    for _ in range(2):  # the count begins again with each rendering
        assert chat_jinja.render(template, messages, {}).text.startswith("0---8    11---8    12---8")
