"""Columns of table `15_distillation`."""

from lib.metrics.column_kinds import columns

COLUMNS_OF_STUDENTS = {
    **columns(
        "rate",
        teacher_asr="ASR of the model that a student learns from, or that others stand beside",
        teacher_cacc="CACC of that model",
        agreement="share of clean test texts with the label that this model gives them",
        triggered_agreement="the same of triggered test texts",
        passing="share of the runs in which a student's ASR lies 10 points or more above that of the clean twin's student",
    ),
    **columns(
        "measure",
        temperature="by which teacher and student are softened",
        cosine_to_backdoor="cosine of a student's way to the backdoor, the backdoored model minus its clean twin",
        cosine_of_twin="the same of the student of the clean twin",
    ),
    **columns(
        "count",
        n_runs="attacks and seeds behind a mean",
        n_labels="labelled texts that a method reads",
        trigger_words_in_texts="words or sentences of the trigger in the texts that a student reads",
    ),
    **columns(
        "name",
        method="way to use a model beside others",
        teacher="pretrained model of the suspicious model",
        student="pretrained model of its students and partners",
        student_start="where a student starts",
        texts="that a student reads",
    ),
}
