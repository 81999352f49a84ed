"""The reasons why a page, a file or a record does not become a document, by the name of the rule in the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from bessemer.artifacts.descriptions import Reason

RULES: Mapping[str, Reason] = {
    "http_status": Reason("The server answered with an error or a redirect, not with a page.", "status 299"),
    "robots_txt": Reason("A robots.txt, which some archives store with the pages of a site."),
    "unsupported_content_type": Reason("Neither HTML nor text; the evidence is the media type."),
    "too_large": Reason("More bytes than the limit.", "`max_page_bytes` of a page, `max_document_bytes` of a record"),
    "undecodable": Reason("No charset decodes the bytes to text.", "", "WHATWG Encoding"),
    "binary": Reason("Bytes or text full of control characters.", "2 % of the characters"),
    "not_html": Reason("Declared as HTML, but without markup."),
    "too_many_nodes": Reason("An HTML tree with too many elements.", "`max_html_nodes`"),
    "too_deep": Reason("An HTML tree with too many levels.", "512 levels"),
    "too_many_attributes": Reason("An HTML element with too many attributes.", "256 attributes"),
    "too_slow": Reason("Extracting the page takes too much CPU time.", "60 s"),
    "parser_error": Reason("The HTML parser or the extractor raised an error."),
    "empty_text": Reason("The text is empty, or the page has no main text."),
    "malformed_json": Reason("A record that is not a JSON object."),
    "malformed_row": Reason("A row that does not fit the header of its table."),
    "missing_text": Reason("A record without the text field.", "`fields.text`"),
    "damaged_record": Reason("A place in an archive that cannot be read."),
    "duplicate_record": Reason("A page with the URL and the bytes of an earlier one in the crawl."),
}
FILE_RULES: Mapping[str, Reason] = {
    "unsupported_format": Reason("A file without a reader."),
    "unreadable_file": Reason("A file that cannot be read, or not to its end."),
    "missing_column": Reason("A table without the text column.", "`fields.text`"),
}
"""Rules that remove a file with an unknown number of documents. The ledger's verdict is then `failed`."""
