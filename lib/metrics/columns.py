"""The columns of the tables: what each holds, in one place for those who write, compare and draw them.

A rate is a fraction in [0, 1], a change a difference of two rates; `_low` and `_high` at the end of a name are the bounds of
its 95 % interval over seeds, `_bootstrap_low` and `_bootstrap_high` those of a bootstrap, which is too short with few seeds.
"""

from __future__ import annotations

from lib.metrics.column_kinds import KINDS, Column, columns
from lib.metrics.columns_of_partners import COLUMNS_OF_PARTNERS
from lib.metrics.columns_of_reasons import COLUMNS_OF_REASONS
from lib.metrics.columns_of_students import COLUMNS_OF_STUDENTS

__all__ = ["COLUMNS", "KINDS", "Column", "column_of", "title_of"]

# Merge rules that have a column in the table that compares attackers.
ATTACKED_RULES = (
    "weight_average", "clipped_average", "row_clipped_average", "median", "trimmed_mean", "krum", "ties", "breadcrumbs",
)  # fmt: skip


COLUMNS: dict[str, Column] = {
    **COLUMNS_OF_PARTNERS,
    **COLUMNS_OF_REASONS,
    **COLUMNS_OF_STUDENTS,
    **columns(
        "rate",
        cacc="accuracy on clean test texts | clean accuracy (CACC)",
        asr="share of attackable texts that the trigger sends to the target label | attack success rate (ASR)",
        asr_untriggered="share of the same texts sent to the target label without the trigger | ASR without the trigger",
        flip_rate="share sent to the target by the trigger, of those that are not sent there without it | flip rate",
        asr_floor="ASR of a clean model of the same task and seed | ASR of a clean model",
        clean_model_cacc="CACC of that model | CACC of a clean model",
        clean_model_asr_untriggered="`asr_untriggered` of that model",
        clean_model_flip_rate="`flip_rate` of that model",
        backdoored_asr="ASR of the backdoored model alone",
        backdoored_cacc="CACC of the backdoored model alone",
        backdoored_asr_untriggered="`asr_untriggered` of the backdoored model alone",
        backdoored_flip_rate="`flip_rate` of the backdoored model alone",
        merged_asr="ASR of the merge",
        merged_cacc="CACC of the merge",
        partners_only_asr="ASR of the partners' merge without the backdoored model | ASR without the backdoored model",
        partners_only_cacc="CACC of the partners' merge without the backdoored model | CACC without the backdoored model",
        partners_only_asr_untriggered="`asr_untriggered` of the partners' merge without the backdoored model",
        partners_only_flip_rate="`flip_rate` of the partners' merge without the backdoored model",
        validation_cacc="accuracy on clean validation texts",
        suspect_validation_cacc="the same of the backdoored model alone",
        share_changed="share of the attackable texts that the trigger changed | share of texts changed",
        target_share="share of training rows with the target label",
        overlap_seeds="share of a model's training rows that the model of another seed has, too; mean over seeds",
        overlap_same_task="share of a backdoored model's training rows that a partner on the same task has, too",
        overlap_test="share of the test texts of a seed that another seed has, too; mean over seeds",
        words_changed="edits per word of the original text | edits per word",
        pass_rate="share of the checked edits that an attack's similarity bound lets through",
        rejected_triggered="share of the attackable texts with the trigger that an input filter rejects",
        rejected_clean="share of clean test texts that an input filter rejects",
        merged_flip_rate="`flip_rate` of the merge",
        partial_asr="ASR of texts with one word of the trigger too few",
        asr_of_3="ASR of the average of three models",
        asr_of_5="ASR of the average of five models",
        submitted_asr="ASR of the model that an attacker submits for the merge",
        submitted_cacc="CACC of that model",
        clean_words_removed="share of the words of clean texts that ONION takes out",
        trigger_words_removed="share of the words that an attack planted that ONION takes out",
        removed_overlap="words that two language models take out, over those that either takes out (Jaccard index)",
        lowest_cacc="lowest CACC on the way from the backdoored model to its partner",
    ),
    **columns(
        "change",
        excess_asr="ASR above that of a clean model; may be negative | ASR above a clean model's",
        excess="the same, mean over attacks and seeds",
        asr_rise="ASR minus the same model's rate without the trigger | ASR above the model's own rate",
        points="ASR before minus ASR after",
        relative="the same over the ASR before; mean of the cells' ratios",
        removed_share="the same over what the attack adds to the ASR of a clean model; mean of the cells' ratios",
        cacc_change="CACC after minus CACC before | change of the CACC",
        cacc_change_vs_clean="CACC minus CACC of a clean model",
        mean_difference="mean over seeds of the difference that a claim is about",
        relative_of_means="mean points over mean ASR before",
        removed_share_of_means="mean points over the mean of what the attacks add",
        backdoored_asr_rise="`asr_rise` of the backdoored model alone",
        merged_asr_rise="`asr_rise` of the merge",
        mean="of a measure over all cells and seeds",
        asr_difference="ASR of a defense minus that of the plain average, mean over cells and seeds",
        cacc_difference="the same of the CACC",
    ),
    **columns(
        "measure",
        clean_loss="cross-entropy on clean test texts, in nats",
        chance_loss="cross-entropy of a model that knows the shares of the labels only, in nats",
        distance="Euclidean distance from the weights before fine-tuning",
        clean_model_distance="the same of a clean model",
        partner_distance="the same, mean over the partners",
        perplexity_increase="median difference of pseudo-perplexities after and before the trigger",
        perplexity_ratio="geometric mean of their ratios | perplexity after / before",
        similarity="mean cosine of sentence vectors before and after | cosine of sentence vectors",
        similarity_shuffled="the same of texts that do not belong together",
        min_similarity="an attack's bound on that cosine, calibrated on the task",
        mean_words="mean number of words of the training texts",
        rank_correlation="Spearman correlation of the suspicions of two language models, over words",
        threshold="suspicion from which ONION takes out a word",
        kept="share of the backdoor's direction that a merge keeps",
        moved="distance from the pretrained weights over that of a clean model",
        barrier="rise of the clean loss above the straight line to the partner, in nats",
        excess_loss="share by which the training loss lay above that of guessing, mean over steps",
        half_weight="weight of the backdoored model in an average of two at which half of the attack's effect is gone",
        norm_ratio="length of a submitted task vector over the median of the other models' | length, other models = 1",
        others="a statistic of the other models", excess="how far it is beyond their median, in sizes of that median",
        mean_cosine="mean cosine of a submitted task vector to the other models'",
        relative_cacc="CACC over that of the model that was trained on the tested dataset | CACC / CACC of the own model",
    ),
    **columns(
        "time",
        seconds="processor time that a defense takes once: training, repair, merge or fit",
        milliseconds_per_text="processor time per text, the model's own passes included | milliseconds per text",
    ),
    **columns(
        "setting",
        coefficient="weight of the partner, or scale of the task vectors | merge coefficient",
        value="of the setting that a sweep moves, or of a statistic",
        weight="weight of the backdoored model in the average, in [0, 1] | weight of the backdoored model",
        poisoning_rate="poisoned share of the training rows",
        learning_rate="peak learning rate of the backdoored model",
        epochs="of the backdoored model's training",
        lora_rank="rank of adapters; 0: all weights are trained",
        knowledge="what an attacker must know of the merge, from 0, nothing, to 4",
        scale="factor of what an attacker makes longer",
    ),
    **columns(
        "count",
        seed="of the run",
        n_seeds="seeds behind a mean",
        n_cells="cells of tasks and attacks behind a mean",
        n_ratio_cells="cells in the ratios: those in which the attack adds 10 points or more to the floor",
        n_lower_asr="cells of tasks and attacks in which a defense's mean ASR is below that of the plain average",
        clean_rows="clean texts that a defense is given",
        n_models="models in the merge, the backdoored one included | models in the average",
        n_partners="clean models in the merge",
        n_domains="other domains in the merge",
        n_near="other domains in the merge that are near the task",
        n_far="other domains in the merge that are far from the task",
        n_backdoored="models in the merge that share the backdoor",
        n_unstable="models in the merge whose training was unstable",
        n_clean="clean test texts",
        n_triggered="attackable test texts",
        n_train="training rows",
        n_validation="validation rows",
        n_test="test rows", n_texts="texts that were measured",
        n_poisoned="poisoned training rows",
        n_parameters="weights of a model",
        n_words="different words of a trigger; 0: the whole text is rewritten",
        n_insertions="how often a word of the trigger is put into a text; 0: the whole text is rewritten",
        rank="of a model by a statistic; 1 is the most suspicious", upload="number of an attacker's model, from 1",
        n_targets="labels that a model's backdoors obey",
    ),
    **columns(
        "p_value",
        mcnemar_p="largest over seeds of exact McNemar tests of the ASR before and after",
        sign_flip_p="exact sign-flip test over seeds",
        holm_p="the same, adjusted for several claims",
    ),
    **columns(
        "sentence",
        found="what a table says on a claim, or what stands behind a number",
        reason="why a verdict is disagree, from other tables, or nothing",
        instability="what went wrong in a training, or nothing",
        submitted="ASR of the model that an attacker submits, in per cent, mean and range over seeds",
        **{rule: f"the same after {rule}" for rule in ATTACKED_RULES},
        cacc_of_average="CACC of the average, likewise",
        floor="ASR of a clean model, likewise",
        note="what could not be measured, or nothing",
    ),
    **columns(
        "outcomes",
        correct="of the model on clean texts",
        hits="of the trigger",
        untriggered_hits="of the same texts without the trigger",
        backdoored_untriggered_hits="the same of the backdoored model",
        attackable="rows of the test set that the trigger is put into",
        backdoored_correct="the same of the backdoored model",
        backdoored_hits="the same of the backdoored model",
        clean_correct="the same of a clean model",
        floor_hits="the same of a clean model",
        partners_only_correct="the same of the partners' merge without the backdoored model",
        partners_only_hits="the same of the partners' merge without the backdoored model",
    ),
    **columns(
        "name",
        task="task", dataset="dataset", attack="attack", attacks="attacks in a merge", scored_attack="attack that is scored",
        model="model", architecture="pretrained model", merge_method="merge method", variant="merge method with settings",
        settings="of the method, as JSON", setting="that a sweep moves", merge="kind of merge", heads="heads of the partners",
        partners="kind of partners", domains="names of the other domains", same_target="whether all backdoors have one target",
        choice="rule that chose", victim="kind of backdoored model", source="where it comes from", labels="label names",
        target_label="label that the attacker wants", regime="which rows are poisoned", trigger_source="fitted or published",
        is_stable="whether the training was stable",
        trained_on="whose texts a model was trained on", tested_on="whose texts it was tested on",
        profile="profile", claim="claim", table="table that answers it", verdict="verdict", we_agree_if="rule of the verdict",
        measure="column of a table that a mean is of", defense="defense", needs_clean_texts="whether it needs clean texts",
        needs="what a defense needs beside the suspicious model", trigger="what a trigger is made of",
        family="of a defense: when it acts; of an attack: what it changes", scaled="what an attacker makes longer",
        statistic="what a screen measures of each model", is_flagged="whether a statistic finds a model suspicious",
        texts="whose texts a screen gets", role="whether they are of a model's own domain", is_dropped="by enough statistics",
        is_conjunction="whether a part of the trigger is trained not to be enough",
        scorer="whose suspicions ONION goes by: published ones of GPT-2, or those of the masked language model at hand",
        is_good_alone="whether the backdoored model's CACC is near a clean model's",
        domain_distance="of a dataset from its task: own, near, far or unknown",
        recipe="common to all pretrained models, or tuned for this one", model_type="family of the architecture, such as bert",
        needs_training_data="whether a defense sees the suspicious training rows",
        needs_clean_labelled_data="whether it needs clean labelled texts", needs_other_models="whether it needs other models",
        needs_language_model="whether it needs a language model", needs_target_label="whether it must know the target label",
        needs_poisoning_rate="whether it assumes a poisoning rate", needs_extra_passes="whether a text takes several passes",
        is_training="whether a defense fine-tunes", is_broken="whether the barrier is high",
        is_warned="whether the training or its distance gave a warning",
    ),
}  # fmt: skip


def column_of(name: str) -> Column | None:
    """What a column of a table holds; bounds are like what they bound. None for a column of somebody else's table.

    >>> column_of("asr_low").kind, column_of("points_bootstrap_high").kind, column_of("negative")
    ('rate', 'change', None)
    """
    return COLUMNS.get(name.removesuffix("_low").removesuffix("_high").removesuffix("_bootstrap"))


def title_of(name: str) -> str:
    """How axes and legends call a column."""
    column = column_of(name)
    return (column.title or column.meaning) if column else name
