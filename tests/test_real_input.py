"""Recipes over real web sites, books and archives, as a user would write them. Skipped if the data are absent."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable
from pathlib import Path

from tests.support.home import Home
from tests.support.web import Answer, Web

Dataset = Callable[[str], Path]


def serve(host: str, folder: Path) -> dict[str, Answer]:
    """The files of a folder as pages of a host. `index.html` is also served at the address of its folder."""
    site = {}
    for file in folder.rglob("*"):
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            kind = mimetypes.guess_type(name)[0] or "text/plain"
            answer = Answer(file.read_bytes(), content_type=kind)
            site[f"{host}/{name}"] = answer
            if file.name == "index.html":
                site[f"{host}/{name.removesuffix('index.html')}"] = answer
    return site


def crawl(tmp_path: Path, host: str, folder: Path, stages: str) -> Home:
    """The home of a finished run on a site that is served under its real host name."""
    with Web(serve(host, folder)) as web:
        connect_to = {host: f"http://127.0.0.1:{web.port}"}
        (tmp_path / "recipe.yaml").write_text(
            f"name: site\nnum_workers: 0\nstages:\n  crawl:\n    seeds: ['https://{host}/']\n    delay_seconds: 0\n"
            f"    allow_private_addresses: true\n    connect_to: {json.dumps(connect_to)}\n{stages}"
        )
        home = Home(tmp_path)
        done = home("run", "recipe.yaml")
    assert "tracking:" not in done.stderr
    return home


def test_a_real_site_from_its_pages_to_deduplicated_documents(tmp_path: Path, dataset: Dataset) -> None:
    """community.apache.org: 183 pages, a robots.txt, a sitemap and feeds."""
    folder = dataset("site_apache") / "community"
    stages = "  extract:\n  clean: {rules: [normalise, gopher_quality, pii]}\n  dedup:\n"
    home = crawl(tmp_path, "community.apache.org", folder, stages)
    assert home.manifest("crawl")["counts"]["documents_out"] >= 150
    assert home.manifest("dedup")["counts"]["documents_out"] >= 80
    documents = json.loads(home("show", "@last", "dedup", "--sample", "1000", "--json").stdout)
    assert len({row["id"] for row in documents}) == len(documents)
    everything = " ".join(row["text"] for row in documents)
    assert "Apache" in everything
    assert "<body" not in everything


def test_a_site_of_redirects_and_copies_gives_each_text_once(tmp_path: Path, dataset: Dataset) -> None:
    """dplyr.tidyverse.org has 744 pages; 466 are redirect stubs and 352 are exact copies."""
    folder = dataset("site_dplyr")
    home = crawl(tmp_path, "dplyr.tidyverse.org", folder, "  extract:\n  dedup:\n")
    assert home.manifest("crawl")["counts"]["documents_out"] >= 100
    documents = json.loads(home("show", "@last", "dedup", "--sample", "1000", "--json").stdout)
    texts = [row["text"] for row in documents]
    assert len(set(texts)) == len(texts) >= 100
    assert not [row["url"] for row in documents if "http-equiv" in row["text"]]


def test_books_become_a_model(tmp_path: Path, dataset: Dataset) -> None:
    """Sections of four open textbooks are ingested, cleaned, tokenized and used for training."""
    lines = (dataset("text_en_openstax") / "openstax.jsonl").read_text(encoding="utf-8").splitlines()
    books = tmp_path / "books.jsonl"
    books.write_text("\n".join(lines[::4]), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        f"name: books\nnum_workers: 0\nstages:\n"
        f"  ingest: {{paths: ['{books}'], split: {{validation: 0.05, test: 0.05}}}}\n"
        "  clean: {rules: [normalise, {language: {languages: [en]}}, gopher_repetition, gopher_quality, pii]}\n"
        "  dedup:\n  tokenizer: {vocab_size: 2048}\n  tokenize:\n"
        "  pretrain: {model: {size: nano}, max_seq_length: 128, num_tokens: 50000, validation_tokens: 8192}\n"
    )
    home = Home(tmp_path)
    home("run", "recipe.yaml")
    assert 1.0 < home.manifest("pretrain")["metrics"]["validation/bits_per_byte"] < 3.5
    for name in ("ingest", "clean", "dedup"):
        counts = home.manifest(name)["counts"]
        assert counts["documents_in"] + counts["created"] == counts["documents_out"] + counts["removed"]


def test_archives_of_ten_libraries_are_read_to_the_end(tmp_path: Path, dataset: Dataset) -> None:
    """Each of 140 WARC, ARC and WET files gives documents or verdicts. Many are broken on purpose."""
    folder = dataset("warc")
    (tmp_path / "recipe.yaml").write_text(
        f"name: archives\nnum_workers: 0\nstages:\n  ingest: {{paths: ['{folder}'], format: warc}}\n"
    )
    home = Home(tmp_path)
    home("run", "recipe.yaml")
    counts = home.manifest("ingest")["counts"]
    assert counts["documents_out"] > 100
    assert counts["created"] == counts["documents_out"] + counts["removed"]
