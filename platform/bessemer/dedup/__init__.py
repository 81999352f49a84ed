"""De-duplication: exact copies by hash, near duplicates proposed by MinHash and decided on the real shingles.

| module | what it does |
|---|---|
| `settings` | what a recipe can set |
| `folding`, `words`, `shingles` | text -> characters that count -> hashes of words -> sets of word n-grams |
| `exact` | the normal form whose hash finds exact copies, and which copy stays |
| `signatures`, `candidates` | MinHash bands, and the pairs that share a bucket |
| `survivors` | which documents stay, given the pairs that were verified |
| `arrays` | small things on sorted arrays |
| `exchange`, `copies`, `pairs`, `verdicts`, `steps` | the same over files, in steps of bounded memory |
"""
