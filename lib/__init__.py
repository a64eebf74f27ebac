"""Can a backdoor be removed from a language model by merging its weights with other models?

A map of the package, in the order in which a reader meets it:

- `profiles`, `paths`: what is run at which size, and where things lie.
- `datasets`: the four tasks and their other domains, real and synthetic (`datasets.pocket`).
- `words`, `masked_lm`: texts as words, and a language model asked for words.
- `attacks`: triggers, poisoned training sets, triggered test sets; `stealth`: how visible they are.
- `models`, `training`, `prediction`: pretrained models, fine-tuning, logits.
- `merging`: merge methods on tensors, one engine that applies them to models in memory or in files, the checks before any
  merge; `compatibility`: what models must share beside their tensors; `merged`, `model_statistics`: merges of the study.
- `metrics`: CACC, ASR, floors and intervals.
- `recipes`, `store`, `planning`, `study`: what determines an artifact, where it is kept, and the one object that notebooks
  talk to.
- `choices`, `tables`, `method_tables`, `collusion_tables`, `ablation_tables`, `outputs`, `plots`, `method_plots`,
  `collusion_plots`, `ablation_plots`, `widgets`, `checks`: tidy tables, files, figures, sliders and exercise answers.
- `run_notebooks`, `verify`, `sanitize` (with `sanitizing`, models of other people), `pretrain_pocket` (with `pocket_models`,
  `pretraining_losses`): the commands.
"""
