"""Can a backdoor be removed from a language model by merging its weights with other models?

From the top floor to the ground; imports only run downwards:

- the commands `run_notebooks`, `verify`, `site`, `adapt_masked_lm`, `sanitize`, `pretrain_pocket`; `notebook`: for notebooks
- `dry_run`: a study's cost; `reports`: documents from tables; `execution`: runs notebooks; `tables`; `study`: `Study`
- `plots`: figures from tables; `attacks`; `defenses`; `sanitizing`: models of others; `why`: theory; `models`; `datasets`
- `merging`: merge methods on tensors; `metrics`: numbers from outcomes; `bars`, `exploring`, `profiles`, `paths`, `folders`
"""
