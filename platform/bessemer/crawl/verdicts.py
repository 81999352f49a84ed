"""The reasons for which a URL is not a page of a crawl, by the name of the rule in the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from bessemer.artifacts.descriptions import Reason

RULES: Mapping[str, Reason] = {
    "out_of_scope": Reason("On a host that is not part of the crawl.", "`hosts`"),
    "excluded": Reason("Excluded by a pattern.", "`include`, `exclude`"),
    "file_type": Reason("The suffix belongs to a type of file that is not wanted.", "`content_types`"),
    "trap": Reason("Looks endless: very long, many or repeated path segments, many equal parameters, a calendar far "
                   "away.", "2000 characters, 25 segments, 10 parameters, the years 1900 to 2049"),
    "nofollow": Reason("Only found in links that their page marks with `nofollow`."),
    "too_deep": Reason("Too many links away from a seed.", "`max_depth`"),
    "page_limit": Reason("The crawl has enough pages.", "`max_pages`"),
    "host_page_limit": Reason("The host has enough pages.", "`max_pages_per_host`"),
    "robots": Reason("Disallowed by robots.txt.", "", "RFC 9309"),
    "robots_unavailable": Reason("The file robots.txt cannot be read, so nothing is allowed.", "", "RFC 9309, 2.3.1.4"),
    "crawl_delay": Reason("The host asks for longer pauses.", "`max_delay_seconds`"),
    "noindex": Reason("The page asks not to be indexed (`noindex`)."),
    "redirect": Reason("Redirects to another URL, which has its own verdict."),
    "redirect_loop": Reason("Redirects to itself."),
    "bad_redirect": Reason("Redirects without a valid target."),
    "too_many_redirects": Reason("A chain of redirects is too long.", "10 redirects, 5 for robots.txt and sitemaps"),
    "http_<status>": Reason("The server answered with this status and without a page."),
    "content_type": Reason("The media type is not wanted.", "`content_types`"),
    "too_large": Reason("The page has too many bytes.", "`max_page_bytes`"),
    "too_slow": Reason("Parsing the page takes too much CPU time.", "20 s"),
    "timeout": Reason("No complete answer in time.", "`timeout_seconds`"),
    "connection_failed": Reason("No connection to the host."),
    "unknown_host": Reason("The host has no address."),
    "private_address": Reason("The host has a private address.", "`allow_private_addresses`"),
    "tls": Reason("The certificate or the encryption is not valid."),
    "broken_response": Reason("The answer is not HTTP, or its content cannot be decoded."),
    "incomplete_response": Reason("The connection ended before the end of the page."),
    "host_down": Reason("Not requested, because too many requests to the host failed.", "8 failures in a row"),
    "links_per_page": Reason("A link too far down a page.", "10 000 links"),
    "urls_per_sitemap": Reason("Too far down a sitemap.", "50 000 URLs", "sitemaps.org"),
    "urls_per_site": Reason("The sitemaps of the site have too many URLs.", "1 000 000 URLs"),
    "sitemaps_per_site": Reason("A sitemap beyond the number that is read.", "200 sitemaps"),
    "sitemap_depth": Reason("A sitemap below too many levels of indexes.", "3 levels"),
    "sitemap_bytes": Reason("The rest of a sitemap that is too large.", "50 MiB", "sitemaps.org"),
    "robots_bytes": Reason("The rest of a robots.txt that is too large.", "500 KiB", "RFC 9309, 2.5"),
    "crashed": Reason("A defect of the crawler, with its message as evidence."),
}  # fmt: skip
