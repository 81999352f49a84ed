"""Rules that select documents and edit their texts, vectorised over batches."""
