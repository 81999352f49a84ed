"""De-duplication. Hashes find exact copies. MinHash proposes near duplicates, and their full shingle sets decide.

| module | purpose |
|---|---|
| `settings` | the settings in a recipe |
| `folding`, `words`, `shingles` | text -> folded characters -> hashes of words -> sets of word n-grams |
| `exact` | the normal form whose hash finds exact copies, and the choice of the copy that stays |
| `signatures`, `candidates` | MinHash bands, and the pairs that share a bucket |
| `survivors` | the documents that stay, given the verified pairs |
| `arrays` | operations on sorted arrays |
| `exchange`, `copies`, `pairs`, `verdicts`, `steps` | the same over files, in steps of bounded memory |
"""
