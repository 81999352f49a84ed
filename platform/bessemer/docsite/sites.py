"""Renders the documentation of this Python installation as static web sites on a few `*.test` hosts.

    data/hosts/<host>/...   pages, robots.txt, sitemap.xml
    data/site.json          facts for the server: hosts, seeds, number of pages, redirects, headers, delays, copies
    data/entries.parquet    one row per documented function, class, method or attribute

The same installation gives the same bytes: no byte depends on the clock, the machine's paths or the order of a set.
As on real sites, about one page in fifteen is a copy, an older version or a print view of another page.
Cost for the default size: about 8 s of one core, most of it to parse 45 MB of source, and 220 MiB of memory.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from bessemer import fences, storage
from bessemer.artifacts.documents import write_parquet
from bessemer.docsite import catalog, groups, languages, pages, surroundings
from bessemer.docsite.catalog import Entry, Package
from bessemer.docsite.groups import Group
from bessemer.docsite.pages import Frame, Link
from bessemer.docsite.source import README, TOPIC
from bessemer.fingerprint import unit_interval

LIBRARY_HOST = f"{catalog.STANDARD_LIBRARY}.test"
COPIES_RATIO = 1 / 15
MAINTAINED_RATIO = 0.12
IN_SITEMAP_RATIO = 0.8
PAGES_PER_HOST = 6
"""Home, about, contact, search, search help, private notes."""
LAST_MODIFIED = "Tue, 02 Jan 2024 08:00:00 GMT"
"""Date of all files. It is constant, so that the server sends the same headers after a new rendering."""

ENTRIES = pa.schema(
    [
        pa.field("url", pa.string(), nullable=False),
        pa.field("module", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("signature", pa.string(), nullable=False),
        pa.field("summary", pa.string(), nullable=False),
        pa.field("doc", pa.string(), nullable=False),
    ]
)
"""`url` is the page that shows the entry; `name` is qualified by its module."""


@dataclass
class Sites:
    """The content of the sites: files by URL, entries with the URL of their page, and facts for the server."""

    files: dict[str, bytes] = field(default_factory=dict)
    entries: list[tuple[str, Entry]] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    """Maps the URL of a copy to the URL of the original page."""

    @property
    def hosts(self) -> list[str]:
        return sorted({url.split("/")[2] for url in self.files})

    @property
    def num_pages(self) -> int:
        return sum(url.endswith(("/", ".html")) for url in self.files)

    def write(self, folder: Path) -> None:
        """Writes all files under `folder`. Replaces existing files."""
        for url, content in self.files.items():
            path = folder / "hosts" / url.removeprefix("http://")
            path = path / "index.html" if url.endswith("/") else path
            fences.check(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        rows = [
            {
                "url": url,
                "module": entry.module,
                "name": entry.qualified_name,
                "kind": entry.kind,
                "signature": entry.signature,
                "summary": entry.summary,
                "doc": entry.doc,
            }
            for url, entry in self.entries
        ]
        write_parquet(pa.Table.from_pylist(rows, schema=ENTRIES), folder / "entries.parquet")
        storage.write_json(folder / "site.json", self._facts())

    def _facts(self) -> dict[str, Any]:
        return {
            "hosts": self.hosts,
            "seeds": [f"http://{host}/" for host in self.hosts],
            "num_pages": self.num_pages,
            "num_entries": len(self.entries),
            "last_modified": LAST_MODIFIED,
            "redirects": self.redirects,
            "headers": self.headers,
            "delays": self.delays,
            "copies": self.copies,
        }


def render(packages: Sequence[str], max_pages: int) -> Sites:
    """Renders the standard library and the distributions `packages` as sites with at most `max_pages` HTML pages.

    Raises InputError if a distribution is not installed.
    """
    with _no_garbage_collection():
        documented = [catalog.read_standard_library(), *map(catalog.read_distribution, packages)]
    documented.append(catalog.gather_readmes(documented))
    ordered = [groups.groups_of(package) for package in documented]
    hosts = sorted({package.host for package in documented})
    num_copies = round(max_pages * COPIES_RATIO)
    num_fixed = PAGES_PER_HOST * len(hosts) + len(languages.PAGES) + len(_ODD_PAGES) + 1
    chosen = groups.choose(ordered, max_pages - num_fixed - num_copies)
    hosts = sorted({group.host for group in chosen})
    sites = Sites()
    articles: dict[str, _Article] = {}
    for host in hosts:
        on_host = [group for group in chosen if group.host == host]
        for index, group in enumerate(on_host):
            nearby = tuple((g.title, f"/{g.directory}/") for g in on_host[max(0, index - 5) : index + 6])
            for article in _group_articles(group, nearby):
                articles[article.url] = article
                sites.entries += [
                    (article.url, entry) for entry in article.entries if entry.kind not in (TOPIC, README)
                ]
        _add_host(sites, _frame(on_host[0].package, hosts), on_host)
    for article in articles.values():
        sites.files[article.url] = article.html(hosts).encode()
    _add_copies(sites, articles, num_copies, hosts)
    if LIBRARY_HOST in hosts:
        _add_languages(sites, hosts)
        _add_odd_pages(sites, chosen, hosts)
    for host in hosts:
        urls = sorted(u for u in sites.files if u.startswith(f"http://{host}/") and u.endswith(("/", ".html")))
        listed = [u for u in urls if u not in sites.copies and unit_interval("sitemap", u) < IN_SITEMAP_RATIO]
        listed = [u for u in listed if not any(f"{host}{path}" in u for path in surroundings.DISALLOWED)]
        sites.files[f"http://{host}/sitemap.xml"] = surroundings.sitemap_xml(listed).encode()
    sites.files = dict(sorted(sites.files.items()))
    return sites


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Pauses garbage collection, which takes a third of the time: syntax trees are many objects, but have no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(frozen=True)
class _Article:
    """A page of documentation without its frame."""

    url: str
    title: str
    group: Group
    parts: tuple[str, ...]
    entries: tuple[Entry, ...]
    neighbours: tuple[Link, ...]

    def html(self, hosts: list[str], *, note: str = "", without_last: bool = False) -> str:
        parts = self.parts[:-1] if without_last else self.parts
        path: tuple[Link, ...] = ((self.group.title, f"/{self.group.directory}/"),)
        if self.url != self.group.url:
            path += ((self.title, self.url.removeprefix(f"http://{self.group.host}")),)
        return pages.page(
            _frame(self.group.package, hosts),
            self.title,
            "\n".join([note, *parts] if note else parts),
            path=path,
            neighbours=self.neighbours,
            head=f'\n<link rel="canonical" href="{self.url}">' if note else "",
        )


def _frame(package: Package, hosts: Sequence[str]) -> Frame:
    if package.host == catalog.SHARED_HOST:
        return Frame("Packages", "", package.license, tuple(hosts))
    return Frame(package.name.capitalize(), package.version, package.license, tuple(hosts))


def _group_articles(group: Group, nearby: tuple[Link, ...]) -> Iterator[_Article]:
    """The pages of a group: a single page that is its own index, or an index followed by the pages that it lists."""
    introduction = (pages.introduction(group),) if group.doc else ()
    maintained = unit_interval("maintained", group.url) < MAINTAINED_RATIO
    ending = (surroundings.maintainer_line(group.url),) if maintained else ()
    if len(group.pages) == 1:
        entries = group.pages[0]
        sections = tuple(pages.sections(entries))
        yield _Article(group.url, group.title, group, introduction + sections + ending, entries, nearby)
        return
    names = _file_names(group)
    addresses = {
        entry: f"/{group.directory}/{name}#{pages.anchor(number)}"
        for name, page in zip(names, group.pages, strict=True)
        for number, entry in enumerate(page)
    }
    listing = pages.contents(group, addresses)
    yield _Article(group.url, group.title, group, (*introduction, listing, *ending), (), nearby)
    for name, entries in zip(names, group.pages, strict=True):
        siblings = tuple((n.removesuffix(".html"), f"/{group.directory}/{n}") for n in names) + nearby
        sections = tuple(pages.sections(entries))
        yield _Article(group.url + name, _page_title(group, entries), group, sections, entries, siblings)


def _page_title(group: Group, entries: Sequence[Entry]) -> str:
    first, last = (entry.name.partition(".")[0] for entry in (entries[0], entries[-1]))
    return f"{entries[0].module}.{first}" if first == last else f"{entries[0].module}: {first} to {last}"


def _file_names(group: Group) -> list[str]:
    """One file name per page, from its first and last entry. `index.html` is reserved."""
    names = ["index"]
    for page in group.pages:
        first, last = (groups.slug(entry.name.partition(".")[0]) or "entry" for entry in (page[0], page[-1]))
        base = first if first == last else f"{first}-{last}"
        others = (f"{base}-{n}" for n in range(2, 1000))
        names.append(base if base not in names else next(name for name in others if name not in names))
    return [f"{name}.html" for name in names[1:]]


def _add_host(sites: Sites, frame: Frame, chosen: Sequence[Group]) -> None:
    """Adds a host's home, about, contact, search and private pages, its robots.txt and its redirects."""
    host = chosen[0].host
    rows = "\n".join(
        f'<li><a href="/{group.directory}/">{group.title}</a> {pages.first_sentence(group)}</li>' for group in chosen
    )
    num_pages = sum(group.num_files for group in chosen)
    home = f"""<p>Welcome to {host}. The {len(chosen)} parts of this documentation are listed below, in the order of \
the alphabet; each begins with its contents.</p>
<ul>
{rows}
</ul>
<p>See also <a href="/about.html">about this site</a>, <a href="/private/">the editors' notes</a> and \
<a href="/modules.html">the list of modules</a> of the last release.</p>"""
    articles = {
        "": ("Documentation", home),
        "about.html": ("About this site", surroundings.about_article(host, num_pages)),
        "contact.html": ("Contact", surroundings.contact_article(host)),
        "search/": ("Search", surroundings.search_article()),
        "search/help.html": ("How to search", surroundings.search_article()),
        "private/": ("Editors' notes", surroundings.private_article()),
    }
    base = f"http://{host}/"
    for name, (title, article) in articles.items():
        sites.files[base + name] = pages.page(frame, title, article).encode()
    sites.files[base + "robots.txt"] = surroundings.robots_txt(host).encode()
    sites.files[base + "style.css"] = pages.STYLE.encode()
    sites.files[base + "icon.svg"] = surroundings.ICON.encode()
    sites.redirects |= {base + "modules.html": "/", base + "docs/": "/modules.html", base + "latest/": "/"}


def _add_copies(sites: Sites, articles: dict[str, _Article], num_copies: int, hosts: list[str]) -> None:
    """Adds exact copies, print views and older versions of the pages whose URLs hash lowest."""
    picked = sorted(articles.values(), key=lambda article: unit_interval("copy", article.url))[:num_copies]
    for index, article in enumerate(picked):
        host, _, path = article.url.removeprefix("http://").partition("/")
        kind = ("latest", "print", "previous")[index % 3]
        url = f"http://{host}/{kind}/{path}"
        if kind == "latest":
            html = article.html(hosts)
        elif kind == "print":
            html = article.html(hosts, note="<p>This is the printable version of the page.</p>")
        else:
            note = "<p>This page belongs to the previous release; a newer version of it is available.</p>"
            html = article.html(hosts, note=note, without_last=len(article.parts) > 3)
        sites.files[url] = html.encode()
        sites.copies[url] = article.url
    by_host: dict[str, list[str]] = {}
    for url in sites.copies:
        by_host.setdefault(url.split("/")[2], []).append(url)
    for host, urls in by_host.items():
        links = "".join(f'<li><a href="{url}">{url.partition(host)[2]}</a></li>\n' for url in sorted(urls))
        about = sites.files[f"http://{host}/about.html"].decode()
        about = about.replace("</article>", f"<p>Other versions of some pages:</p>\n<ul>\n{links}</ul>\n</article>")
        sites.files[f"http://{host}/about.html"] = about.encode()


def _add_languages(sites: Sites, hosts: list[str]) -> None:
    frame = Frame("Library", "", "PSF-2.0", tuple(hosts))
    links = []
    for language, (title, paragraphs) in languages.PAGES.items():
        charset = languages.LEGACY_ENCODING.get(language, "utf-8")
        article = "\n".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
        url = f"http://{LIBRARY_HOST}/{language}/"
        html = pages.page(frame, title, article, language=language, charset=charset)
        sites.files[url] = html.encode(charset, "xmlcharrefreplace")
        if charset != "utf-8":
            sites.headers[url] = {"Content-Type": f"text/html; charset={charset}"}
        links.append(f'<a href="/{language}/" hreflang="{language}">{title}</a>')
    home = sites.files[f"http://{LIBRARY_HOST}/"].decode()
    home = home.replace("</article>", f"<p>{' '.join(links)}</p>\n</article>")
    sites.files[f"http://{LIBRARY_HOST}/"] = home.encode()


_ODD_PAGES = ("genindex.html", "moved.html", "empty.html", "draft.html", "slow.html")


def _add_odd_pages(sites: Sites, chosen: Sequence[Group], hosts: list[str]) -> None:
    """Adds a very long page of links, a redirecting page, an empty one, a `noindex` page and a slow one."""
    frame = Frame("Library", "", "PSF-2.0", tuple(hosts))
    base = f"http://{LIBRARY_HOST}/"
    links = "\n".join(f'<li><a href="{url}">{entry.qualified_name}</a></li>' for url, entry in sites.entries)
    first = next(group.directory for group in chosen if group.host == LIBRARY_HOST)
    moved = f'\n<meta http-equiv="refresh" content="0; url=/{first}/">'
    noindex = '\n<meta name="robots" content="noindex">'
    sites.files[base + "genindex.html"] = pages.page(frame, "General index", f"<ul>\n{links}\n</ul>").encode()
    sites.files[base + "moved.html"] = pages.page(
        frame, "Moved", f'<p><a href="/{first}/">Here</a></p>', head=moved
    ).encode()
    sites.files[base + "empty.html"] = b""
    draft = (
        "<p>This draft is not finished and asks not to be indexed; it says nothing yet that its readers could use.</p>"
    )
    sites.files[base + "draft.html"] = pages.page(frame, "Draft", draft, head=noindex).encode()
    slow = (
        "<p>The server takes its time over this page, as the servers of busy projects do on the day of a release.</p>"
    )
    sites.files[base + "slow.html"] = pages.page(frame, "Slow page", slow).encode()
    sites.delays[base + "slow.html"] = 1.0
    sites.headers[base + "draft.html"] = {"X-Robots-Tag": "noindex"}
    about = sites.files[base + "about.html"].decode()
    odd = " ".join(f'<a href="/{name}">{name}</a>' for name in _ODD_PAGES)
    sites.files[base + "about.html"] = about.replace("</article>", f"<p>Also here: {odd}</p>\n</article>").encode()
