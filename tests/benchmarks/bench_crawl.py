"""Pages per second from a site on loopback: Bessemer's crawl stage and Scrapy, one after the other, on the same pages.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install scrapy
    python tests/benchmarks/bench_crawl.py --peer /tmp/peer/bin/python

Both find the site's pages by following links from its home page, obey robots.txt, use eight connections and no delay,
and store every page with its headers (a WARC file; gzip-compressed JSON lines). Each crawler runs in a new process, and
its start is part of the time. The server runs in a separate process. If the server, the crawler and other programs
share the cores, processor time is more accurate than wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bessemer import storage
from bessemer.docsite.server import serve

OURS = """
import json, logging, sys
from pathlib import Path
from bessemer.stages import crawl
from bessemer.stages.base import Context, Draft
folder, port, pages = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
config = crawl.Config(
    seeds=["http://bench.test/"], connect_to={"*.test": f"127.0.0.1:{port}"}, delay_seconds=0,
    max_connections_per_host=8, max_pages=10 * pages, sitemaps=False, max_depth=1000,
)
context = Context(seed=0, num_workers=0, log=logging.getLogger(), stop_file=folder / "stop", start_ray=None)
draft = Draft(folder, "0" * 32)
crawl.run(config, {}, draft, context)
print(json.dumps({"pages": draft.counts.documents_out, "name": "bessemer"}))
"""

PEER = """
import json, sys
import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.linkextractors import LinkExtractor
folder, port = sys.argv[1], sys.argv[2]

class Spider(scrapy.Spider):
    name = "bench"
    start_urls = [f"http://127.0.0.1:{port}/"]
    links = LinkExtractor()

    def parse(self, response):
        yield {"url": response.url, "headers": dict(response.headers.to_unicode_dict()), "body": response.text}
        for link in self.links.extract_links(response):
            yield response.follow(link, self.parse)

process = CrawlerProcess({
    "ROBOTSTXT_OBEY": True, "CONCURRENT_REQUESTS": 8, "CONCURRENT_REQUESTS_PER_DOMAIN": 8, "DOWNLOAD_DELAY": 0,
    "LOG_LEVEL": "ERROR", "TELNETCONSOLE_ENABLED": False, "DEFAULT_REQUEST_HEADERS": {"Host": "bench.test"},
    "FEEDS": {f"{folder}/pages.jsonl.gz": {
        "format": "jsonlines", "gzip_compresslevel": 6,
        "postprocessing": ["scrapy.extensions.postprocessing.GzipPlugin"],
    }},
})
crawler = process.create_crawler(Spider)
process.crawl(crawler)
process.start()
print(json.dumps({"pages": crawler.stats.get_value("item_scraped_count"), "name": f"scrapy {scrapy.__version__}"}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="a Python that has Scrapy installed")
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        make_site(Path(scratch) / "site", arguments.pages)
        with serve(Path(scratch) / "site") as port:
            crawlers = [(sys.executable, OURS)] + ([(str(arguments.peer), PEER)] if arguments.peer else [])
            best = [min(measure(*c, scratch, port, arguments.pages) for _ in range(arguments.rounds)) for c in crawlers]
    print(f"{arguments.pages} pages of {PAGE_BYTES // 1000} kB with {LINKS} links, Python {platform.python_version()}")
    for seconds, cpu, pages, name in best:
        print(
            f"{name:16} {pages:6} pages  {seconds:6.1f} s  {pages / seconds:6.0f} pages/s  "
            f"{1000 * cpu / pages:5.2f} ms of processor time a page"
        )
    if len(best) == 2:
        (seconds, cpu, pages, _), (peer_seconds, peer_cpu, peer_pages, _) = best
        print(
            f"ratio: {peer_seconds / peer_pages * pages / seconds:.2f} times the pages a second, "
            f"{cpu / pages / (peer_cpu / peer_pages):.2f} of the processor time a page"
        )


PAGE_BYTES = 20_000
LINKS = 50


def make_site(folder: Path, count: int) -> None:
    """`count` pages of about `PAGE_BYTES`; page N links to pages 8N+1 to 8N+8 and to its neighbours."""
    words = "the quick brown fox jumps over a lazy dog while seven wizards quietly mix potions of extraordinary power "
    for number in range(count):
        children = [8 * number + i for i in range(1, 9)] + [number + i for i in range(1, LINKS - 7)]
        links = "".join(f'<li><a href="/p/{n % count}.html">page {n % count}</a></li>\n' for n in children)
        text = "".join(f"<p>{number} {i} {words[i:]}{words}</p>\n" for i in range(0, len(words), 3))
        body = (
            f"<!doctype html><html><head><title>Page {number}</title></head><body><ul>{links}</ul>{text}</body></html>"
        )
        html = (body + "<!-- -->" * ((PAGE_BYTES - len(body)) // 8)).encode()
        path = folder / "hosts" / "bench.test" / (f"p/{number}.html" if number else "index.html")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(html)
    (folder / "hosts/bench.test/robots.txt").write_text("User-agent: *\nDisallow: /private/\n")
    facts = {"redirects": {"http://bench.test/p/0.html": "/"}, "headers": {}, "delays": {}}
    storage.write_json(folder / "site.json", facts | {"last_modified": "Tue, 02 Jan 2024 08:00:00 GMT"})


def measure(python: str, program: str, scratch: str, port: int, pages: int) -> tuple[float, float, int, str]:
    """(seconds, processor seconds, pages, name) of one crawl in a new process."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        script = Path(folder) / "crawl.py"
        script.write_text(program)
        command = [python, str(script), folder, str(port), str(pages)]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(printed.splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, found["pages"], found["name"]


if __name__ == "__main__":
    main()
