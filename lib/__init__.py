"""Can a backdoor be removed from a language model by merging its weights with other models?

A map of the package, in the order in which a reader meets it:

- `profiles`, `paths`: what is run at which size, and where things lie.
- `datasets`: the four tasks and their other domains, real and synthetic (`datasets.pocket`).
- `words`, `masked_lm`: texts as words, and a language model asked for words.
- `attacks`: triggers, poisoned training sets, triggered test sets; `stealth`: how visible they are.
- `models`, `training`, `prediction`: pretrained models, fine-tuning, logits.
- `merging`: merge methods on tensors, one engine that applies them to models in memory or in files, the checks before any
  merge; `compatibility`: what models must share beside their tensors; `merged`, `model_statistics`: merges of the study.
- `metrics`, `significance`, `reduction`: CACC, ASR, floors, intervals, exact tests, and how much of the ASR is gone.
- `recipes`, `store`, `planning`, `parallel`, `study`: what determines an artifact, where it is kept, how many are made at a
  time, and the one object that notebooks talk to.
- `choices`, `summary`, `outputs`, `tables`, `plots`, `display`, `widgets`, `checks`: tidy tables, files, figures, sentences,
  sliders and exercise answers; by notebook `merging_*` (04, 06, 07), `method_*` (05), `collusion_*` (08), `ablation_*` (09,
  10), `architecture_*` (11), `headline`, `headline_plots` (90).
- `run_notebooks`, `dry_run` (with `estimates`, `dry_run_report`), `verify`, `sanitize` (with `sanitizing`, models of other
  people), `pretrain_pocket` (with `pocket_models`, `pretraining_losses`): the commands.
"""
