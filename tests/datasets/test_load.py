"""Datasets from a folder: their form, what is refused, the carved splits, and stratified samples."""

import pandas as pd
import pytest

from lib.datasets import data_fingerprint, load_dataset, normalise, rows_of_seed

TEXTS = ["fine film", "dull film", "good plot", "weak plot"]
TRAIN = "text\tlabel\n" + "".join(f"{text}\t{1 - i % 2}\n" for i, text in enumerate(TEXTS))
PAIRS = "text\ttext_pair\tlabel\n" + "".join(f"who ?\tann did {i} .\t{i % 2}\n" for i in range(4))


@pytest.fixture
def write(tmp_path):
    """Write the files of one dataset and return the folder of datasets."""

    def write_files(dataset="sst2", **files):
        (tmp_path / dataset).mkdir(exist_ok=True)
        for split, content in files.items():
            (tmp_path / dataset / f"{split}.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write_files


def load(folder, dataset="sst2", **settings):
    return load_dataset(dataset, "real", folder, **settings)


# --- form ----------------------------------------------------------------------------------------------------------------


def test_a_folder_becomes_frames_of_text_and_integer_label(write):
    task = load(write(train=TRAIN, validation=TRAIN, test="text\tlabel\nfine\t1\n"))
    assert (task.name, task.task, task.source, task.label_names) == ("sst2", "sst2", "folder", ("negative", "positive"))
    assert task.train.to_dict("list") == {"text": TEXTS, "label": [1, 0, 1, 0]}
    assert task.test.to_dict("list") == {"text": ["fine"], "label": [1]}
    assert task.train["label"].dtype.kind == "i"


def test_quotation_marks_hashes_and_nan_are_characters_of_the_text(write):
    rows = ['"quoted" text\t1', 'one " mark\t0', "# no comment\t1", "nan\t0", "NA\t1", "é 😀\t0"]
    task = load(write(train=TRAIN, test="text\tlabel\n" + "\n".join(rows)))
    assert task.test["text"].tolist() == [row.split("\t")[0] for row in rows]


def test_only_line_feeds_end_a_line(write):
    # A text may hold characters that other readers take for line ends.
    task = load(write(train=TRAIN, test="text\tlabel\none\u2028two\x0bthree\x85four\t1\n"))
    assert task.test["text"].tolist() == ["one two three four"]


def test_windows_line_ends_are_read(write):
    task = load(write(train=TRAIN.replace("\n", "\r\n"), validation=TRAIN, test=TRAIN))
    assert task.train.to_dict("list") == {"text": TEXTS, "label": [1, 0, 1, 0]}


def test_white_space_is_normalised_in_every_split(write):
    task = load(write(train=TRAIN + "  a   fine  film \t1\n", validation=TRAIN, test=TRAIN))
    assert task.train["text"].tolist() == [*TEXTS, "a fine film"]
    assert normalise(" a\u00a0 b\n c ") == "a b c"


def test_pairs_stay_apart_or_become_one_string(write):
    folder = write("qnli", train=PAIRS, validation=PAIRS, test=PAIRS)
    apart, joined = load(folder, "qnli"), load(folder, "qnli", pair_mode="joined")
    assert apart.is_pair
    assert apart.test.head(1).to_dict("list") == {"text": ["who ?"], "text_pair": ["ann did 0 ."], "label": [0]}
    assert not joined.is_pair
    assert joined.test.head(1).to_dict("list") == {"text": ["who ? ann did 0 ."], "label": [0]}
    with pytest.raises(ValueError, match="pair_mode is 'both'; choose 'text' or 'joined'"):
        load(folder, "qnli", pair_mode="both")


def test_a_changed_file_is_read_again_and_changes_the_fingerprint(write):
    folder = write(train=TRAIN, test=TRAIN)
    before = load(folder).fingerprint
    assert data_fingerprint("sst2", "real", folder) == before
    after = load(write(test=TRAIN + "one more film\t1\n"))
    assert len(after.test) == 5
    assert data_fingerprint("sst2", "real", folder) == after.fingerprint != before


# --- what is refused -------------------------------------------------------------------------------------------------------


def test_a_missing_folder_raises_and_names_it(tmp_path):
    with pytest.raises(ValueError, match=r"data folder .*nowhere does not exist; set FREE_LUNCH_DATA"):
        load(tmp_path / "nowhere")


def test_an_empty_folder_and_a_missing_dataset_raise_and_say_what_was_found(tmp_path, write):
    with pytest.raises(ValueError, match=r"has no dataset 'sst2'; found nothing"):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"has no dataset 'sst2'; found \['yelp'\]"):
        load(write("yelp", train=TRAIN, test=TRAIN))


@pytest.mark.parametrize(("files", "found"), [({}, "nothing"), ({"train": TRAIN}, r"\['train.tsv'\]")])
def test_a_dataset_without_train_or_test_raises_and_says_what_was_found(write, files, found):
    with pytest.raises(ValueError, match=rf"needs train.tsv and test.tsv \(validation.tsv is optional\); found {found}"):
        load(write(**files))


@pytest.mark.parametrize("content", ["", "fine film\t1\n", "label\ttext\n1\tfine\n", "text,label\nfine,1\n", PAIRS])
def test_a_file_without_the_header_raises(write, content):
    with pytest.raises(ValueError, match=r"test.tsv must begin with the header text<TAB>label; found '"):
        load(write(train=TRAIN, test=content))


def test_a_pair_dataset_needs_three_columns(write):
    with pytest.raises(ValueError, match=r"must begin with the header text<TAB>text_pair<TAB>label; found 'text\\tlabel'"):
        load(write("qnli", train=PAIRS, test=TRAIN), "qnli")


def test_a_header_without_rows_raises(write):
    with pytest.raises(ValueError, match=r"train.tsv has a header but no rows"):
        load(write(train="text\tlabel\n", test=TRAIN))


@pytest.mark.parametrize("label", ["2", "-1", "positive", "", "1.0", "0 1"])
def test_an_unknown_label_names_its_row_and_the_labels_that_are_allowed(write, label):
    message = rf"test.tsv row 2 has label '{label}'; allowed are 0 \(negative\), 1 \(positive\)"
    with pytest.raises(ValueError, match=message):
        load(write(train=TRAIN, test=f"text\tlabel\nfine\t1\ngood\t{label}\n"))


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_text_names_its_row(write, text):
    with pytest.raises(ValueError, match=r"train.tsv row 2 has an empty text; every row needs one"):
        load(write(train=f"text\tlabel\nfine\t1\n{text}\t0\n", test=TRAIN))


def test_an_empty_second_text_names_its_row(write):
    with pytest.raises(ValueError, match=r"test.tsv row 1 has an empty text_pair"):
        load(write("qnli", train=PAIRS, test="text\ttext_pair\tlabel\nwho ?\t \t0\n"), "qnli")


@pytest.mark.parametrize(("line", "n"), [("fine film", 1), ("fine\tfilm\t1", 3)])
def test_a_wrong_number_of_columns_names_its_line(write, line, n):
    with pytest.raises(ValueError, match=rf"test.tsv line 3 has {n} columns, expected 2: 'fine"):
        load(write(train=TRAIN, test=f"text\tlabel\ngood\t1\n{line}\n"))


def test_blank_lines_do_not_shift_the_line_that_an_error_names(write):
    with pytest.raises(ValueError, match=r"test.tsv line 4 has 1 columns"):
        load(write(train=TRAIN, test="text\tlabel\ngood\t1\n\nfine film\n"))


def test_a_file_that_is_not_utf8_is_named(write):
    with pytest.raises(ValueError, match=r"test.tsv.*UTF-8"):
        load(write(train=TRAIN, test="text\tlabel\ncafé\t1\n".encode("latin-1")))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_nul_byte_names_file_and_line(write, split):
    files = {"train": TRAIN, "validation": TRAIN, "test": TRAIN} | {split: TRAIN + "\nfine\0 film\t1\n"}
    with pytest.raises(ValueError, match=rf"sst2/{split}.tsv line 7 has a NUL byte"):
        load(write(**files))


def labelled(*labels):
    return "text\tlabel\n" + "".join(f"text {i}\t{label}\n" for i, label in enumerate(labels))


@pytest.mark.parametrize(
    ("dataset", "labels", "message"),
    [
        ("sst2", [1] * 50, r"every label of its task; found 50 of label 1 \(positive\); missing are 0 \(negative\)"),
        ("yelp", [0] * 50, r"two labels or more; found 50 of label 0 \(negative\); missing are 1 \(positive\)"),
        (
            "agnews",
            [0, 1, 3] * 20,
            r"every label of its task; found .*, 20 of label 3 \(Sci/Tech\); missing are 2 \(Bus",
        ),
        ("bbc", [2] * 20, r"two labels or more; found 20 of label 2 \(Business\); missing are 0 \(World\), 1 \(Sports\), 3"),
        ("sst2", [1, 0], r"2 rows or more of each label that it has; found 1 of label 0 \(negative\), 1 of label 1"),
        ("yelp", [1, 1, 0], r"2 rows or more of each label that it has; found 1 of label 0 \(negative\), 2 of label 1"),
    ],
)
def test_a_training_file_that_cannot_teach_the_labels_is_refused(write, dataset, labels, message):
    with pytest.raises(ValueError, match=rf"{dataset}/train.tsv needs (?:rows of )?{message}"):
        load(write(dataset, train=labelled(*labels), test=TRAIN), dataset)


def test_another_domain_may_lack_a_label_of_the_task(write):
    # BBC's news have no row of some topics of AG News.
    assert set(load(write("bbc", train=labelled(*[0, 1, 3] * 5), test=TRAIN), "bbc").train["label"]) == {0, 1, 3}


def test_the_fewest_rows_leave_every_label_in_train(write):
    task = load(write(train=TRAIN, test=TRAIN))
    assert (len(task.train), len(task.validation)) == (3, 1)
    assert set(task.train["label"]) == {0, 1}


@pytest.mark.parametrize("source", ["real", "pocket"])
def test_an_unknown_dataset_raises_and_lists_the_known_ones(tmp_path, source):
    with pytest.raises(ValueError, match=r"unknown dataset 'sst3'.*choose from \[.*'sst2'"):
        load_dataset("sst3", source, tmp_path)


def test_an_unknown_source_raises(tmp_path):
    with pytest.raises(ValueError, match=r"'hub'.*'pocket'.*'real'"):
        load_dataset("sst2", "hub", tmp_path)


def test_a_dataset_that_is_only_a_folder_says_so_without_one():
    with pytest.raises(ValueError, match="dataset 'mpqa' is not on the Hub: set FREE_LUNCH_DATA to a folder"):
        load_dataset("mpqa", "real")


def test_the_environment_variable_names_the_folder(write, monkeypatch):
    monkeypatch.setenv("FREE_LUNCH_DATA", str(write(train=TRAIN, test=TRAIN)))
    assert load_dataset("sst2", "real").source == "folder"


# --- carved splits -----------------------------------------------------------------------------------------------------------


def numbered(n_per_label, dataset_labels=2):
    return "text\tlabel\n" + "".join(f"text {i} of {k}\t{k}\n" for k in range(dataset_labels) for i in range(n_per_label))


def test_a_missing_validation_split_is_carved_from_train_stratified_and_disjoint(write):
    task = load(write(train=numbered(50), test=TRAIN))
    assert (len(task.train), len(task.validation)) == (90, 10)
    assert task.validation["label"].value_counts().to_dict() == {0: 5, 1: 5}
    assert not set(task.train["text"]) & set(task.validation["text"])
    assert len(set(task.train["text"]) | set(task.validation["text"])) == 100


def test_a_validation_split_that_is_there_is_taken_as_it_is(write):
    task = load(write(train=numbered(50), validation=TRAIN, test=TRAIN))
    assert (len(task.train), task.validation["text"].tolist()) == (100, TEXTS)


def test_at_most_a_thousand_rows_are_carved(write):
    assert len(load(write(train=numbered(5500), test=TRAIN)).validation) == 1000


# --- rows of a seed ----------------------------------------------------------------------------------------------------------


def test_seeds_draw_disjoint_rows_of_a_folder_and_formats_reach_them(write):
    folder = write(
        train=numbered(50), validation=TRAIN, test="text\tlabel\n" + "".join(f"Test {i}.\t{i % 2}\n" for i in range(12))
    )

    def draw(split, n, seed, **settings):
        return rows_of_seed("sst2", "real", split, n, seed, folder, **settings)["text"]

    drawn = [draw("train", 20, seed, n_partners=1) for seed in (0, 1000, 1, 1001, 2)]
    assert pd.concat(drawn).nunique() == 100
    tests = [draw("test", 4, seed) for seed in (0, 1, 2)]
    assert pd.concat(tests).nunique() == 12
    assert sorted(draw("test", 4, 0, text_format="treebank")) == sorted(text.lower()[:-1] + " ." for text in tests[0])


def test_all_rows_are_the_same_rows_for_every_seed(write):
    folder = write(train=numbered(5), validation=TRAIN, test=TRAIN)
    first, other = (rows_of_seed("sst2", "real", "train", 0, seed, folder)["text"] for seed in (0, 1))
    assert sorted(first) == sorted(other)
    assert len(first) == 10
