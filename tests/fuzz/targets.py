"""The targets: for each kind of foreign input, known inputs, a strategy, and a check that raises on a defect."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

CPU_SECONDS = 10.0
"""An input of at most 200 kB that takes longer is a finding."""
URL = "http://a.test/page"


@dataclass(frozen=True)
class Target:
    """`check(content)` raises for a defect. It runs in a child process, found by `name`."""

    name: str
    seeds: Sequence[bytes]
    strategy: st.SearchStrategy[bytes]
    check: Callable[[bytes], object]


# ------------------------------------------------------------------------------------------------ HTTP


class _Sink:
    """A connection's writer that forgets what is written."""

    transport: Any = None

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def is_closing(self) -> bool:
        return True


def check_http(content: bytes) -> None:
    """A crawl of a host that answers each request with these bytes: an outcome for the page, and none by our fault."""
    from bessemer.artifacts.pages import PageWriter, payload_digest, read_page
    from bessemer.crawl.connect import Connection
    from bessemer.crawl.fetch import Failure, Fetcher, Response
    from bessemer.crawl.findings import CrawlFindings, FetchOutcome, Target
    from bessemer.crawl.host import HostCrawl, Manners
    from bessemer.crawl.parser import Parser
    from bessemer.crawl.scope import Scope

    class Connections:
        async def open(self, host: str, port: int, *, tls: bool, fresh: bool = False) -> Connection:
            reader = asyncio.StreamReader()
            reader.feed_data(content)
            reader.feed_eof()
            return Connection((host, port, tls), reader, _Sink())  # type: ignore[arg-type]

        def keep(self, connection: Connection) -> None: ...

    Connection.close = lambda self: None  # type: ignore[method-assign]
    scope = Scope(["*.test"], [], [], ["text/*", "application/xhtml+xml"])
    manners = Manners("Bessemer", 0.0, 0.01, 1, 1, retry_seconds=0.0)
    findings = CrawlFindings()
    with tempfile.TemporaryDirectory() as folder, Parser() as parse:
        path = Path(folder, "x.warc.gz")

        def kept(target: Target, page: Response) -> FetchOutcome:
            with PageWriter(path, software="x", user_agent="x") as writer:
                place = writer.write(target.url, page.status, page.reason, page.headers, page.payload, page.fetched_at)
            again = read_page(path, *place)
            assert (again.payload, again.content_type) == (page.payload, page.content_type), (
                "another page in the archive"
            )
            assert again.payload_digest == payload_digest(page.payload)
            return FetchOutcome(target.url, "fetched", status=page.status, content_type=page.content_type)

        async def crawl() -> None:
            fetcher = Fetcher(
                Connections(),  # type: ignore[arg-type]
                user_agent="x",
                max_bytes=100_000,
                max_connections=1,
                timeout_seconds=5.0,
                accepts=scope.accepts,
            )
            assert isinstance(await fetcher.get(URL), Response | Failure)
            host = HostCrawl(fetcher, manners, scope, findings, kept, Path(folder, "robots"), parse)
            await host.run([Target(URL, 0, 0)], ["http://a.test"], lambda: False)
            direct = [Target(f"{URL}?2", 0, 0)]
            for target in direct:
                await host._visit(target)

        asyncio.run(crawl())
    states = findings.outcomes_table().to_pylist()
    assert {row["url"] for row in states} == {URL, f"{URL}?2"}
    assert all(row["state"] != "crashed" for row in states), states
    assert all(row["refusal"] != "crashed" for row in findings.discoveries_table().to_pylist())


_BYTES = st.binary(max_size=20) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass"))
_VALUES = _BYTES | st.sampled_from(
    [
        *(
            b"text/html",
            b"text/html; charset=utf-16",
            b"text/plain;charset=",
            b"gzip",
            b"br, deflate",
            b"chunked",
            b"identity",
        ),
        *(
            b"0",
            b"5",
            b"9" * 5000,
            b"-1",
            b"close",
            b"keep-alive",
            b"http://b.test/",
            b"/x?\xff",
            b"//[",
            b"noindex nofollow",
        ),
        *(b"Mon, 01 Jan 2024 00:00:00 +9999999999", b"120", b"bytes 0-4/5", b"bytes 0-" + b"9" * 5000 + b"/5"),
    ]
)
_NAMES = _BYTES | st.sampled_from(
    [
        *(b"Content-Type", b"Content-Encoding", b"Content-Length", b"Transfer-Encoding", b"Location", b"Connection"),
        *(b"Retry-After", b"Content-Range", b"X-Robots-Tag"),
    ]
)
_STATUS = (
    st.sampled_from([b"200 OK", b"301 Moved", b"206 Partial", b"503 Busy", b"404 No", b"204 None", b"100 Go"]) | _BYTES
)


@st.composite
def _response(draw: st.DrawFn) -> bytes:
    head = b"HTTP/1.1 " + draw(_STATUS) + b"\r\n"
    for name, value in draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=6)):
        head += name + b": " + value + b"\r\n"
    body = draw(_HTML | _SITEMAP | _ROBOTS | st.binary(max_size=200))
    wrap = draw(
        st.sampled_from([bytes, gzip.compress, zlib.compress, lambda b: b"%x\r\n%s\r\n0\r\n\r\n" % (len(b), b)])
    )
    return head + b"\r\n" + wrap(body)


# ------------------------------------------------------------------------------------------ HTML, sitemaps, robots


def check_html(content: bytes) -> None:
    from bessemer.artifacts.ledger import Removed
    from bessemer.crawl.links import find_links
    from bessemer.extract.page import extract_page
    from bessemer.extract.settings import TextSettings

    found = find_links(content, URL, charset=None, token="Bessemer")
    "".join((*found.followed, *found.not_followed)).encode()
    for form in ("txt", "markdown"):
        try:
            extracted = extract_page(content, "text/html", None, URL, TextSettings(output_format=form))  # type: ignore[arg-type]
            json.dumps(extracted.metadata, ensure_ascii=False).encode()
            extracted.text.encode()
        except Removed as refused:
            if refused.rule == "parser_error" and "Error" in (refused.evidence or ""):
                raise


def check_sitemap(content: bytes) -> None:
    from bessemer.crawl.sitemaps import parse_sitemap

    found = parse_sitemap(content, URL)
    "".join((*found.pages, *found.sitemaps)).encode()


def check_robots(content: bytes) -> None:
    from bessemer.crawl.robots import parse_robots

    rules = parse_robots(content, "Bessemer")
    assert rules.crawl_delay >= 0
    rules.allows(URL)
    json.dumps([rules.to_json(), rules.sitemaps], ensure_ascii=False).encode()


_TAGS = (
    "a b p div table tr td ul li pre code math script style title meta base link form select br h1 template body html"
)
_TAG = st.sampled_from(_TAGS.split())
_ATTRIBUTES = st.lists(
    st.tuples(
        st.sampled_from(
            ["href", "rel", "content", "name", "http-equiv", "charset", "colspan", "class", "hidden", "id", "x"]
        ),
        st.sampled_from(
            ["", "0", "9" * 30, "0;url=/x", "noindex", "refresh", "robots", "utf-16", "text/html", "//[", "\u202e"]
        )
        | st.text(max_size=8),
    ),
    max_size=3,
)


@st.composite
def _page(draw: st.DrawFn) -> bytes:
    parts: list[str] = []
    for _ in range(draw(st.integers(0, 30))):
        kind = draw(st.integers(0, 3))
        if kind == 0:
            attributes = "".join(f' {name}="{value}"' for name, value in draw(_ATTRIBUTES))
            parts.append(f"<{draw(_TAG)}{attributes}>" * draw(st.sampled_from([1, 1, 1, 2, 70])))
        elif kind == 1:
            parts.append(f"</{draw(_TAG)}>" * draw(st.sampled_from([1, 1, 3])))
        else:
            parts.append(draw(st.text(max_size=12)) or "Some words of a sentence. ")
    codec = draw(st.sampled_from(["utf-8", "utf-16", "cp1252", "gb18030", "shift_jis"]))
    return "".join(parts).encode(codec, "replace")


@st.composite
def _sitemap(draw: st.DrawFn) -> bytes:
    names = st.sampled_from(["urlset", "url", "loc", "sitemapindex", "sitemap", "rss", "item", "link", "x:loc"])
    pieces = draw(
        st.lists(
            names.map("<{}>".format)
            | names.map("</{}>".format)
            | st.sampled_from(["/a", "&amp;", "&", "<![CDATA[", "]]>", "<!--", "-->"]),
            max_size=30,
        )
    )
    return ("<urlset>" + "".join(pieces)).encode()


_HTML, _SITEMAP = _page(), _sitemap()
_ROBOTS = st.lists(
    st.tuples(
        st.sampled_from([b"User-agent", b"Disallow", b"Allow", b"Crawl-delay", b"Sitemap", b"x"]),
        _BYTES | st.sampled_from([b"*", b"Bessemer", b"/*a*a*a$", b"//[", b"nan", b"1e999", b"-1", b"%zz%", b"$"]),
    ).map(b": ".join),
    max_size=10,
).map(b"\n".join)

# ------------------------------------------------------------------------------------------------ files


def check_file(suffix: str, content: bytes) -> None:
    """Reads the file as documents and as rows: records with a rule or a text, and no exception."""
    from bessemer.extract.cut import cut_into_units
    from bessemer.extract.inputs import find_files
    from bessemer.extract.reading import read, read_rows
    from bessemer.extract.records import documents_of, record_tables
    from bessemer.extract.settings import ReaderSettings, TextSettings

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"x{suffix}").write_bytes(content)
        settings = ReaderSettings(max_document_bytes=100_000)
        for unit in cut_into_units(find_files([folder]), unit_bytes=64):
            for piece in unit:
                for table in record_tables(read(piece, settings)):
                    documents_of(table, TextSettings(), created=True)
                for table in record_tables(read_rows(piece, settings)):
                    assert len(table)


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"text": ["a", None, "c" * 50], "n": [1, 2, 3], "d": [datetime(2024, 1, 1, tzinfo=UTC)] * 3}), sink
    )
    return sink.getvalue()


def _warc() -> bytes:
    from bessemer.artifacts.pages import PageWriter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        with PageWriter(path, software="x", user_agent="x") as writer:
            for number in range(2):
                url, at = f"http://a.test/{number}", datetime(2024, 1, 1, tzinfo=UTC)
                writer.write(url, 200, "OK", [("Content-Type", "text/html")], b"<p>Some text.</p>", at)
        return path.read_bytes()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["text", "url", "x", ""]), inner, max_size=4)
    ),
    max_leaves=8,
)
_LINES = st.lists(_JSON.map(json.dumps) | st.text(max_size=9), max_size=8).map(
    lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
)
_ROWS = b'{"text": "a", "url": "http://a.test/"}\n{"text": "b"}\n'

# ------------------------------------------------------------------------------------------------ recipes, tokenizers


def check_recipe(content: bytes) -> None:
    from bessemer.errors import RecipeError
    from bessemer.recipe import yaml
    from bessemer.runner.plan import load_recipe

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.yaml")
        path.write_bytes(content)
        try:
            load_recipe(path, [])
        except RecipeError as error:
            str(error)
    source = yaml.parse(content.decode("utf-8", "replace"))
    if not source.problems:
        again = yaml.parse(yaml.dump(source.value))
        assert again.problems or repr(again.value) == repr(source.value), "dump changes the value"


def check_tokenizer(content: bytes) -> None:
    """A `tokenizer.json` is opened and gives back what it encodes, or is refused."""
    from bessemer.errors import InputError
    from bessemer.tokens.tokenizer import TokenizerFolder

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tokenizer.json").write_bytes(content)
        try:
            opened = TokenizerFolder.open(Path(folder))
        except InputError:
            return
        for text in ("Two words", "日本語 \U0001f642\r\n\t", "<|endoftext|>"):
            assert opened.decode(opened.encode(text)) == text


def check_template(content: bytes) -> None:
    from bessemer.tokens import chat_jinja

    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    try:
        chat_jinja.render(
            content.decode("utf-8", "replace"), messages, {"bos_token": "<s>"}, add_generation_prompt=True
        )
    except chat_jinja.REFUSALS as error:
        str(error)


def check_model(content: bytes) -> None:
    from bessemer.errors import InputError
    from bessemer.model.folder import weight_files
    from bessemer.model.hub import load_config

    for name, read in (("config.json", load_config), ("model.safetensors.index.json", weight_files)):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, name).write_bytes(content)
            try:
                read(Path(folder))
            except InputError as error:
                str(error)


@cache
def _tokenizer() -> bytes:
    from bessemer.tokens.bpe_training import train_tokenizer

    trained = train_tokenizer(["Some words to learn from, and a few more words."] * 3, 300)
    return str(trained.to_str()).encode()


_YAML = st.recursive(
    st.sampled_from(["x", "1", "1e999", "null", "'", "[", "*a", "&a x", "9" * 5000, "~", "|", "!!int x"])
    | st.text(max_size=6),
    lambda inner: st.lists(
        st.tuples(st.sampled_from(["name", "stages", "seed", "ingest", "pretrain", "model", "? x"]), inner), max_size=4
    ).map(lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"),
    max_leaves=8,
)
_RECIPE = (
    b"name: x\nseed: 1\nstages:\n  ingest: {paths: [docs], split: {test: 0.1}}\n  clean: {rules: [pii]}\n  dedup:\n"
)
_TEMPLATE = (
    b"{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[{{ m['content'] | trim }}]{% else %}"
    b"{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}{{ raise_exception('x') if x }}"
)
_CONFIG = json.dumps(
    {
        "architectures": ["Qwen3ForCausalLM"],
        "vocab_size": 9,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 9,
        "rope_theta": 10000.0,
        "weight_map": {"a": "model-1.safetensors"},
        "rope_parameters": {"rope_type": "default"},
    }
).encode()
_PIECES = st.sampled_from(
    [
        *[
            "{{",
            "{%",
            "%}",
            "}}",
            "for",
            "if",
            "in",
            "range",
            "macro",
            "set",
            "end",
            "(",
            ")",
            "[",
            "]",
            "|",
            "~",
            "**",
            "*",
            "9999",
            "messages",
            "m",
            "loop",
            "namespace",
            "x",
            "=",
            ".",
            ",",
            "'",
            "tojson",
        ],
        " ",
    ]
)

_FILES = {
    ".html": ([b"<html><body><p>Some text.</p>"], _HTML),
    ".txt": ([b"Some text.\n"], st.binary(max_size=200)),
    ".jsonl": ([_ROWS], _LINES),
    ".json": ([b"[" + _ROWS.replace(b"\n", b",") + b"{}]"], _LINES),
    ".csv": ([b'text,url\n"a, b",http://a.test/\nc,d\n'], st.text('a,"\n\r;\t', max_size=60).map(str.encode)),
    ".tsv": ([b"text\turl\na\tb\n"], st.text('a\t"\n', max_size=60).map(str.encode)),
    ".parquet": ([_parquet()], st.binary(max_size=100).map(lambda tail: b"PAR1" + tail + b"PAR1")),
    ".warc.gz": ([_warc()], st.binary(max_size=100)),
    ".warc": ([gzip.decompress(_warc())], st.binary(max_size=100).map(lambda tail: b"WARC/1.0\r\n" + tail)),
    ".jsonl.gz": ([gzip.compress(_ROWS)], _LINES.map(gzip.compress)),
    "": ([_ROWS], st.binary(max_size=100)),
}
TARGETS = {
    target.name: target
    for target in (
        Target(
            "http", [b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<a href=/x>x</a>"], _response(), check_http
        ),
        Target("html", [b"<html><body><p>Some words of a sentence.</p><a href=/x>x</a>"], _HTML, check_html),
        Target("sitemap", [b"<urlset><url><loc>http://a.test/x</loc></url></urlset>"], _SITEMAP, check_sitemap),
        Target("robots", [b"User-agent: *\nDisallow: /x*y$\nCrawl-delay: 1\n"], _ROBOTS, check_robots),
        *(
            Target(f"file{suffix}", seeds, strategy, partial(check_file, suffix))
            for suffix, (seeds, strategy) in _FILES.items()
        ),
        Target("recipe", [_RECIPE], _YAML.map(lambda text: f"name: x\nstages: {text}\n".encode()), check_recipe),
        Target("tokenizer", [_tokenizer()], st.just(_tokenizer()), check_tokenizer),
        Target(
            "template", [_TEMPLATE], st.lists(_PIECES, max_size=30).map(lambda p: " ".join(p).encode()), check_template
        ),
        Target("model", [_CONFIG], _JSON.map(lambda value: json.dumps(value).encode()), check_model),
    )
}
