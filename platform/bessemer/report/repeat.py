"""Report section on repeating the run: commands, recipe, settings and versions."""

from __future__ import annotations

from markupsafe import Markup

from bessemer.commands import with_storage_path
from bessemer.recipe import yaml
from bessemer.report.facts import Facts
from bessemer.report.html import render

_TEMPLATE = """
<p>The first command, with the recipe below, makes the same artifacts or reuses them. The other commands inspect this \
run.</p>
<pre>{{ commands | join("\\n") }}</pre>
{% if recipe %}{% call fold("The recipe as given") %}<pre>{{ recipe }}</pre>{% endcall %}{% endif %}
{% call fold("Every setting, defaults included") %}<pre>{{ settings }}</pre>{% endcall %}
{% if versions %}
{% call fold("Versions") %}{{ table([("library", ""), ("version", "code")], versions) }}{% endcall %}
{% endif %}
"""


def repeat(facts: Facts) -> Markup:
    file = facts.folder / "recipe.yaml"
    settings = {"stages": {s.name: s.config for s in facts.stages}} | {
        name: value for name, value in facts.settings.items() if name not in {s.name for s in facts.stages}
    }
    looks = (f"bessemer status {facts.run.name}", f"bessemer show {facts.run.name} STAGE", "bessemer ui")
    commands = [facts.command, *(with_storage_path(look, facts.root) for look in looks)]
    return render(
        _TEMPLATE,
        commands=filter(None, commands),
        recipe=file.read_text(encoding="utf-8") if file.exists() else "",
        settings=yaml.dump(settings),
        versions=sorted(facts.versions.items()),
    )
