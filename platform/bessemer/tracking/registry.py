"""Registers models in MLflow: `<recipe>-base` after pre-training, `<recipe>-chat` after fine-tuning and alignment.

A tag of each version holds the fingerprint of its artifact, by which Bessemer finds the version again. The newest
version has the alias `candidate`.

In a local store, a version refers to the folder of the artifact: the same machines see both, and a copy would double
the disk space. If MLflow has a server, `register` uploads the files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bessemer.tracking.records import StageRecord
from bessemer.tracking.store import is_local

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FINGERPRINT_TAG = "bessemer.fingerprint"
CANDIDATE = "candidate"
_ROLES = {"pretrain": "base", "finetune": "chat", "align": "chat"}


def register(client: MlflowClient, uri: str, recipe: str, stage: StageRecord, run_id: str) -> None:
    """Registers the model that a stage made, once. Does nothing for other stages, such as `reward`."""
    if stage.kind not in _ROLES:
        return
    name = f"{recipe}-{_ROLES[stage.kind]}"
    if not client.search_registered_models(f"name = '{name}'", max_results=1):
        client.create_registered_model(name)
    version = _find(client, name, stage.fingerprint)
    if version is None:
        source = stage.folder / "data"
        if not is_local(uri):
            client.log_artifacts(run_id, str(source), "model")
        version = client.create_model_version(
            name,
            source=str(source) if is_local(uri) else f"{client.get_run(run_id).info.artifact_uri}/model",
            run_id=run_id,
            tags={FINGERPRINT_TAG: stage.fingerprint, "bessemer.stage": stage.name},
        )
        client.set_registered_model_alias(name, CANDIDATE, version.version)


def fingerprints(client: MlflowClient, *, only_aliased: bool) -> set[str]:
    """The fingerprints of the artifacts of all registered versions; with `only_aliased`, of versions with an alias."""
    if only_aliased:
        models = _all_pages(lambda token: client.search_registered_models(page_token=token))
        versions = [client.get_model_version_by_alias(model.name, alias) for model in models for alias in model.aliases]
    else:
        versions = _all_pages(lambda token: client.search_model_versions(page_token=token))
    return {version.tags.get(FINGERPRINT_TAG, "") for version in versions} - {""}


def _all_pages(search: Callable[[str | None], Any]) -> list[Any]:
    """Collects the results of all pages of a search."""
    found: list[Any] = []
    token = None
    while True:
        page = search(token)
        found += page
        token = page.token
        if not token:
            return found


def _find(client: MlflowClient, name: str, fingerprint: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{name}' and tags.`{FINGERPRINT_TAG}` = '{fingerprint}'")
    return found[0] if found else None
