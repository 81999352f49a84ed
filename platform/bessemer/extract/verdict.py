"""The reasons why an input does not become a document.

| rule | meaning |
|---|---|
| `http_status` | the server answered with an error or a redirect (value: the status) |
| `robots_txt` | a site's rules for crawlers, which some archives store with its pages |
| `unsupported_content_type` | neither HTML nor text (evidence: the media type) |
| `too_large` | more bytes than the limit |
| `undecodable` | no charset decodes the bytes to text |
| `binary` | bytes or text full of control characters |
| `not_html` | declared as HTML, but without markup |
| `too_many_nodes`, `too_deep`, `too_many_attributes` | an HTML tree beyond the limits |
| `too_slow` | more CPU time than the limit |
| `parser_error` | the HTML parser or the extractor gave up |
| `empty_text` | no main text was found, or the text is empty |
| `malformed_json` | a record that is not a JSON object |
| `malformed_row` | a row that does not fit the header of its table |
| `missing_text` | a record without the text field |
| `damaged_record` | a place in an archive that cannot be read |
| `duplicate_record` | a page with the same URL and the same bytes as an earlier one of the crawl |

Three rules remove a file with an unknown number of documents. The ledger's verdict is then `failed`:

| rule | meaning |
|---|---|
| `unsupported_format` | a file without a reader |
| `unreadable_file` | a file that cannot be read, or not to its end |
| `missing_column` | a table without the text column |
"""

from __future__ import annotations

FILE_RULES = frozenset({"unsupported_format", "unreadable_file", "missing_column"})
