"""The pages of a site apart from its articles: contact pages with personal data, robots.txt, sitemaps, dead ends.

All personal data is invented and safe to publish: names of fictitious people, e-mail addresses at example.org (RFC
2606), telephone numbers reserved for fiction (555-0100 to 555-0199), IP addresses of public resolvers and of
documentation (RFC 5737), and card numbers that payment processors publish for tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from bessemer.fingerprint import unit_interval

_FIRST_NAMES = ("Ada", "Bruno", "Chika", "Dmitri", "Elif", "Farah", "Goran", "Hana", "Ivo", "Jun", "Katja", "Lior")
_LAST_NAMES = ("Abernathy", "Brandvold", "Castellane", "Drummel", "Eastwick", "Fairleigh", "Gundersby", "Hollowell")
_ADDRESSES = ("1.1.1.1", "8.8.8.8", "9.9.9.9", "192.0.2.17", "198.51.100.23", "203.0.113.80")
_TEST_CARDS = ("4111 1111 1111 1111", "5555 5555 5555 4444", "4242 4242 4242 4242", "3782 822463 10005")

DISALLOWED = ("/private/", "/search/")
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#1f5f8b"/>'
    '<path d="M4 4h8v2H4zm0 3h8v2H4zm0 3h5v2H4z" fill="#fff"/></svg>\n'
)


def pick(choices: tuple[str, ...], *key: str) -> str:
    """One of `choices`; the same for the same `key`."""
    return choices[int(unit_interval(*key) * len(choices))]


def person(key: str) -> tuple[str, str, str]:
    """An invented (name, e-mail address, telephone number); the same for the same `key`."""
    first, last = pick(_FIRST_NAMES, "first", key), pick(_LAST_NAMES, "last", key)
    number = 100 + int(unit_interval("telephone", key) * 100)
    return f"{first} {last}", f"{first}.{last}@example.org".lower(), f"+1 (202) 555-0{number}"


def maintainer_line(key: str) -> str:
    """A sentence with personal data, which ends some articles."""
    name, mail, telephone = person(key)
    return (
        f"<p>This part of the documentation is looked after by {name}. Corrections are welcome at "
        f'<a href="mailto:{mail}">{mail}</a> or, on weekdays, by telephone at {telephone}.</p>'
    )


def contact_article(host: str) -> str:
    people = [person(f"{host}/{n}") for n in range(4)]
    rows = "\n".join(f"<li>{name}: {mail}, telephone {telephone}</li>" for name, mail, telephone in people)
    return f"""<p>The people below keep {host} running. Write to them when a page is wrong, when an example no longer \
works, or when you would like to help with the next release of the documentation.</p>
<ul>
{rows}
</ul>
<p>The server answers at {pick(_ADDRESSES, host)} and its mirror at {pick(_ADDRESSES, "mirror", host)}. Donations \
towards its running costs can be tried out with the test card {pick(_TEST_CARDS, host)}, which is never charged.</p>"""


def about_article(host: str, num_pages: int) -> str:
    return f"""<p>{host} shows the documentation that comes with an installation of Python on about {num_pages} pages. \
Every module has a page of contents, and every function and class has its signature, a summary, a description of its \
parameters and, where the authors wrote one, an example.</p>
<p>Older releases are kept below <a href="/latest/">latest</a> and in printable form. The layout of this site has \
changed over the years, so <a href="/docs/">some addresses</a> lead elsewhere, and <a href="/changes/0.9.html">a few \
pages</a> are gone for good.</p>"""


def private_article() -> str:
    return """<p>These notes are for the editors of this site. They are kept out of search engines by robots.txt, so a \
program that reads this sentence on its own account did not keep to the rules of the road.</p>
<p>Before a release, somebody has to read the list of changed pages, compare the examples with their output, and write \
down which of them differ between platforms.</p>"""


def search_article() -> str:
    return """<p>Type the name of a module, a function or a class. The search looks at names first and at summaries \
second.</p>
<form action="/search/" method="get"><input name="q" aria-label="Search"><button>Search</button></form>"""


def robots_txt(host: str) -> str:
    rules = "\n".join(f"Disallow: {path}" for path in DISALLOWED)
    return f"""# Everybody is welcome to the documentation itself.
User-agent: *
{rules}
Disallow: /*?
Allow: /search/help.html

User-agent: GreedyBot
Disallow: /

Sitemap: http://{host}/sitemap.xml
"""


def sitemap_xml(urls: Iterable[str]) -> str:
    rows = "\n".join(f"<url><loc>{escape(url)}</loc></url>" for url in urls)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
{rows}
</urlset>
"""
