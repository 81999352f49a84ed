"""The fixed limits of a crawl, which no recipe sets, by the names of their rules in the ledger.

They keep a hostile or very large site from filling memory. A limit never takes effect silently: the omitted URLs are
rows of the ledger with the rule, the measurement and the limit, and the stage logs their number in a warning.
"""

from __future__ import annotations

LINKS_PER_PAGE = "links_per_page"
URLS_PER_SITEMAP = "urls_per_sitemap"
URLS_PER_SITE = "urls_per_site"
SITEMAPS_PER_SITE = "sitemaps_per_site"
SITEMAP_DEPTH = "sitemap_depth"
SITEMAP_BYTES = "sitemap_bytes"
ROBOTS_BYTES = "robots_bytes"
TOO_SLOW = "too_slow"

MAXIMUM = {
    LINKS_PER_PAGE: 10_000,
    URLS_PER_SITEMAP: 50_000,  # sitemaps.org
    URLS_PER_SITE: 1_000_000,
    SITEMAPS_PER_SITE: 200,
    SITEMAP_DEPTH: 3,
    SITEMAP_BYTES: 50 << 20,  # sitemaps.org
    ROBOTS_BYTES: 500 << 10,  # RFC 9309, section 2.5
}
RECORDED = 100_000
"""Maximum number of omitted URLs per page or sitemap that get a row. The row of the page counts the others."""

EXPLANATION = {
    LINKS_PER_PAGE: "links beyond the first 10 000 of a page are not followed",
    URLS_PER_SITEMAP: "URLs beyond the first 50 000 of a sitemap are not crawled",
    URLS_PER_SITE: "sitemaps are not read beyond 1 000 000 URLs of a site",
    SITEMAPS_PER_SITE: "sitemaps beyond the first 200 of a site are not read",
    SITEMAP_DEPTH: "sitemaps below 3 levels of indexes are not read",
    SITEMAP_BYTES: "sitemaps are not read beyond 50 MiB",
    ROBOTS_BYTES: "robots.txt files are not read beyond 500 KiB",
    "page_limit": "`max_pages` is reached",
    "host_page_limit": "`max_pages_per_host` is reached",
    "too_deep": "they are farther from a seed than `max_depth`",
    "too_large": "the pages are longer than `max_page_bytes`",
    "too_many_redirects": "redirects are followed 10 times",
    TOO_SLOW: "their pages take more than 20 s of CPU time to parse",
    "crawl_delay": "their hosts ask for longer pauses than `max_delay_seconds`",
}
"""The warning for each rule of a limit, also for those that a recipe sets."""
