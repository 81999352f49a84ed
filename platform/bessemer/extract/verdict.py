"""Why an input becomes no document.

| rule | meaning |
|---|---|
| `http_status` | the server answered with something else than the page (value: the status) |
| `robots_txt` | a site's rules for crawlers, which some archives keep among its pages |
| `unsupported_content_type` | neither HTML nor text (evidence: what it is) |
| `unsupported_format` | a file that no reader knows |
| `too_large` | more bytes than the limit |
| `undecodable` | no charset makes sense of the bytes |
| `binary` | bytes or text full of control characters |
| `not_html` | said to be HTML, but has no markup |
| `too_many_nodes`, `too_deep` | an HTML tree beyond the limits |
| `parser_error` | the HTML parser or the extractor gave up |
| `empty_text` | no main text was found, or there was nothing in it |
| `malformed_json`, `missing_text` | a record that is no JSON object, or lacks the text field |
| `damaged_record` | a place in an archive or compressed file that cannot be read |
| `duplicate_record` | the same URL with the same bytes a second time in one crawl |
"""

from __future__ import annotations


class Refused(Exception):
    """Raised inside `extract` and always caught there: the input is removed by this rule."""

    def __init__(
        self, rule: str, *, evidence: str | None = None, value: float | None = None, threshold: float | None = None
    ) -> None:
        super().__init__(rule)
        self.rule, self.evidence, self.value, self.threshold = rule, evidence, value, threshold
