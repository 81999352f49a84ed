"""From text to numbers: the tokenizer and the token store."""
