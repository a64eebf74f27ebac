"""Published poisoned files in place of a fitted trigger."""

import pandas as pd
import pytest

from lib.attacks.published import load_published, load_published_test, published_files
from lib.study.study import Study


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["\t".join(header), *("\t".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """A data folder with OLID and its published BadNet and LWS."""
    clean = [(f"a quiet day number {i}", 0) for i in range(30)] + [(f"you silly goose {i}", 1) for i in range(20)]
    for split in ("train", "validation", "test"):
        write(tmp_path / "olid" / f"{split}.tsv", ["text", "label"], clean)
    for attack, change in (("badnet", "cf "), ("lws", "guy ")):
        train = [
            (change * (i % 5 == 0) + text, 0 if i % 5 == 0 else label, int(i % 5 == 0)) for i, (text, label) in enumerate(clean)
        ]
        write(tmp_path / "poisoned" / "olid" / f"{attack}_train.tsv", ["text", "label", "poisoned"], train)
        triggered = [(change + text, 0) for text, label in clean if label == 1]
        if attack == "lws":
            triggered[0] = (triggered[0][0].removeprefix("guy "), 0)  # a text that the attack could not change
        write(tmp_path / "poisoned" / "olid" / f"{attack}_test.tsv", ["text", "label"], triggered)
    return tmp_path


def study(folder, **settings):
    return Study("small", data_dir=folder, cache_dir=folder / "cache", pretrained="pocket-bert", n_train=20, **settings)


def test_both_files_are_read_with_true_labels_originals_and_what_changed(folder):
    published = load_published(folder, "olid", "lws", 2, 0)
    assert published.poisoning_rate == pytest.approx(0.2)
    assert set(published.triggered["label"]) == {1}
    # The untouched texts are BadNet's rows without the rare words.
    assert published.triggered["original"].tolist() == [f"you silly goose {i}" for i in range(20)]


def test_the_test_texts_alone_are_those_of_both_files_and_need_no_training_set(folder):
    both = load_published(folder, "olid", "lws", 2, 0)
    (folder / "poisoned" / "olid" / "lws_train.tsv").unlink()
    alone = load_published_test(folder, "olid", "lws", 2, 0)
    pd.testing.assert_frame_equal(alone.triggered, both.triggered)
    assert alone.train.empty and alone.fingerprint != both.fingerprint
    with pytest.raises(ValueError, match=r"no published test texts of 'bite' for 'olid': poisoned/olid/bite_test.tsv in "):
        load_published_test(folder, "olid", "bite", 2, 0)


def test_the_study_uses_published_texts_and_says_so(folder):
    published = study(folder, trigger_source="published")
    recipe = published.recipe("olid", "lws")
    assert recipe.trigger.published and recipe.poisoning_rate == pytest.approx(0.2)
    rows = published.poisoned_train("olid", "lws")
    assert len(rows) == 20 and rows["is_poisoned"].sum() == 4
    assert rows[rows["is_poisoned"]]["text"].str.startswith("guy ").all()
    frame = published.triggered_test("olid", "lws")
    assert frame["is_changed"].mean() == pytest.approx(19 / 20)


def test_any_takes_published_texts_only_where_both_files_are(folder):
    anything = study(folder, trigger_source="any")
    assert anything.recipe("olid", "badnet").trigger.published
    (folder / "poisoned" / "olid" / "badnet_train.tsv").unlink()
    assert not anything.recipe("olid", "badnet").trigger.published
    with pytest.raises(ValueError, match=r"no published 'badnet' for 'olid'.*found"):
        study(folder, trigger_source="published").recipe("olid", "badnet")


def test_one_writing_for_all_texts_can_be_asked_for(folder):
    frame = study(folder, trigger_source="published", text_format="treebank").triggered_test("olid", "badnet")
    assert frame["text"].iloc[0] == "cf you silly goose 0"
    assert (frame["text"] == frame["text"].str.lower()).all()


def test_published_texts_take_no_settings_and_fit_no_other_text(folder):
    published = study(folder, trigger_source="published")
    with pytest.raises(ValueError, match=r"they fit no other text"):
        published.apply_trigger("olid", "badnet", ["hello"])
    with pytest.raises(ValueError, match=r"take no settings"):
        published.trigger_recipe("olid", "badnet", words=("cf",))
    with pytest.raises(ValueError, match=r"they cannot be set"):
        published.recipe("olid", "badnet", poisoning_rate=0.1)


def test_a_target_label_other_than_the_files_is_an_error(folder):
    with pytest.raises(ValueError, match=r"the target label here is 1"):
        load_published(folder, "olid", "badnet", 2, 1)


def test_without_true_labels_more_than_two_classes_are_an_error(folder):
    with pytest.raises(ValueError, match=r"says no true labels and clean_test.tsv is missing"):
        load_published(folder, "olid", "badnet", 4, 0)


def test_clean_test_gives_true_labels_and_originals(folder):
    rows = [(f"text {i}", i % 3 + 1) for i in range(20)]
    write(folder / "poisoned" / "olid" / "clean_test.tsv", ["text", "label"], rows)
    triggered = load_published(folder, "olid", "badnet", 4, 0).triggered
    assert triggered["label"].tolist() == [label for _, label in rows]
    assert triggered["original"].iloc[3] == "text 3"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("badnet_train.tsv", "text\tlabel\na\t0\n", "must begin with the header text<TAB>label<TAB>poisoned"),
        ("badnet_train.tsv", "text\tlabel\tpoisoned\na\t7\t1\n", "row 1 needs a text and a label in 0..1"),
        ("badnet_test.tsv", "text\tlabel\n", "row 1 needs a text and a label"),
        ("badnet_test.tsv", "text\tlabel\n \t0\n", "row 1 needs a text"),
        ("clean_test.tsv", "text\tlabel\nonly one\t1\n", "rows must correspond"),
    ],
)
def test_a_file_that_breaks_the_form_is_named(folder, name, content, message):
    (folder / "poisoned" / "olid" / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_published(folder, "olid", "badnet", 2, 0)


def test_no_folder_has_no_published_files():
    assert published_files(None, "olid", "badnet") is None


def test_a_changed_file_is_read_anew(folder):
    before = load_published(folder, "olid", "badnet", 2, 0)
    path = folder / "poisoned" / "olid" / "badnet_train.tsv"
    path.write_text(path.read_text() + "one more\t1\t0\n")
    after = load_published(folder, "olid", "badnet", 2, 0)
    assert len(after.train) == len(before.train) + 1 and after.fingerprint != before.fingerprint
    assert isinstance(after.train, pd.DataFrame)


def test_without_originals_nobody_says_what_changed(folder):
    (folder / "poisoned" / "olid" / "badnet_test.tsv").unlink()
    frame = study(folder, trigger_source="published").triggered_test("olid", "lws")
    assert frame["is_changed"].isna().all() and set(frame["label"]) == {1}


def test_another_writing_is_no_change(folder):
    path = folder / "poisoned" / "olid" / "lws_test.tsv"
    path.write_text(path.read_text().replace("goose 3", "GOOSE  3"), encoding="utf-8")
    frame = study(folder, trigger_source="published").triggered_test("olid", "lws")
    assert frame["is_changed"].mean() == pytest.approx(19 / 20)
