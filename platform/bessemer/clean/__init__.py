"""Rules that decide which documents stay, and how their texts are written: vectorised over batches."""
