"""From bytes to documents: charsets, the main text of web pages, and readers for the usual file formats."""
