"""Figures: a title, labelled axes, and the numbers of the table, for one seed and attack and for several."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from lib import plots
from lib.metrics.summary import summarise
from lib.tables.compared import four_models
from lib.tables.domains import partner_kinds_table

PLOTS = {
    "story": plots.plot_story,
    "attacks": plots.plot_attacks,
    "curves": plots.plot_loss_curves,
    "merging": plots.plot_merging,
    "by_attack": plots.plot_merging_by_attack,
    "coefficient": plots.plot_coefficient,
    "domains": plots.plot_domains,
    "transfer": plots.plot_transfer,
}


@pytest.fixture(scope="module")
def frames(frames):
    """Tables by the names of the figures; two are of one table."""
    return frames | {"by_attack": frames["merging"]}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def barrier(frames):
    """The table of the loss barrier: two victims on the way to their partner."""
    table = frames["coefficient"]
    table = table[(table["attack"] == "badnet") & (table["partners"] == "same_task")]
    return pd.concat([table.assign(victim=f"rate {rate}, seed 0", learning_rate=rate) for rate in (0.1, 0.2)])


def assert_readable(figure, has_categories=False):
    assert isinstance(figure, Figure)
    assert len(figure.get_suptitle()) > 10
    assert "seed" in " ".join(text.get_text() for text in figure.texts)
    axes = figure.get_axes()
    assert any(axis.get_ylabel() for axis in axes)
    assert any(axis.get_xlabel() or (has_categories and axis.get_xticklabels()) for axis in axes)


@pytest.mark.parametrize("name", PLOTS)
def test_figures_have_a_title_and_labelled_axes(frames, name):
    assert_readable(PLOTS[name](frames[name]), has_categories=name in ("attacks", "story"))


POCKET = plots.Subject(is_synthetic=True, model="pocket-bert")
REAL = plots.Subject(is_synthetic=False, model="all-MiniLM-L6-v2")


def words_of(figure):
    """Everything that a figure says, legends and ticks included."""
    return " ".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("name", PLOTS)
def test_a_figure_says_whose_numbers_it_shows(frames, name):
    for subject, whose in ((POCKET, "Pocket English, pocket-bert"), (REAL, "all-MiniLM-L6-v2")):
        subtitle = [text.get_text() for text in PLOTS[name](frames[name], subject).texts]
        assert any(whose in line for line in subtitle), subtitle


@pytest.mark.parametrize("name", PLOTS)
def test_a_synthetic_task_is_named_after_a_real_one_and_said_to_be_like_it(frames, name):
    said = words_of(PLOTS[name](frames[name], POCKET))
    assert "SST-2-like" in said and "sst2" not in said
    said = words_of(PLOTS[name](frames[name], REAL))
    assert "SST-2" in said and "SST-2-like" not in said and "sst2" not in said and "Pocket English" not in said


def test_a_figure_of_several_pretrained_models_does_not_name_one_of_them_below_its_title(frames):
    table = frames["merging"].assign(architecture="pocket-llama", recipe="common")
    figure = plots.plot_architectures(table[table["partners"] == "other_domains"], POCKET)
    [subtitle] = [text.get_text() for text in figure.texts if "Pocket English" in text.get_text()]
    assert subtitle.startswith("Pocket English: SST-2-like")


@pytest.mark.parametrize("name", PLOTS)
def test_figures_of_one_attack_are_drawn(frames, name):
    table = frames[name]
    if "attack" in table:
        table = table[table["attack"] == "badnet"]
    assert isinstance(PLOTS[name](table), Figure)


@pytest.mark.parametrize("name", [name for name in PLOTS if name not in ("story", "curves", "transfer")])
def test_figures_of_two_seeds_say_so(frames, name):
    table = pd.concat([frames[name], frames[name].assign(seed=1)], ignore_index=True)
    figure = PLOTS[name](table)
    assert "2 seeds" in " ".join(text.get_text() for text in figure.texts)


def test_the_figure_of_a_barrier_is_drawn(frames):
    figure = plots.plot_barrier(barrier(frames))
    assert_readable(figure)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["learning rate 0.1", "learning rate 0.2", "backdoored model alone", "straight line: no barrier"]


@pytest.mark.parametrize(("name", "step"), [("merging", "n_models"), ("coefficient", "coefficient"), ("domains", "n_domains")])
def test_lines_show_the_means_of_the_table_in_per_cent(frames, name, step):
    table = frames[name][frames[name]["attack"] == "badnet"]
    if "partners" in table:
        table = table[table["partners"] == "other_domains"]
    axis = PLOTS[name](table).get_axes()[0]
    lines = {line.get_label(): line for line in axis.get_lines()}
    means = table.groupby(step)[["asr", "cacc"]].mean()
    for rate, column in (("attack success rate (ASR)", "asr"), ("clean accuracy (CACC)", "cacc")):
        assert list(lines[rate].get_xdata()) == pytest.approx(means.index.tolist())
        assert list(lines[rate].get_ydata()) == pytest.approx((means[column] * 100).tolist())
    floor = list(lines["ASR of a clean model"].get_ydata())
    assert floor == pytest.approx([table["asr_floor"].iloc[0] * 100] * len(floor))


def test_every_task_and_every_attack_has_its_panel_and_every_kind_of_partner_its_lines(frames):
    table = pd.concat([frames["merging"], frames["merging"].assign(task="olid")])
    axes = plots.plot_merging_by_attack(table).get_axes()
    titles = ["BadNet\nSST-2", "InsertSent\nSST-2", "BadNet\nOLID", "InsertSent\nOLID"]
    assert [axis.get_title() for axis in axes] == titles
    for axis in axes:
        lines = {line.get_label(): line.get_linestyle() for line in axis.get_lines()}
        assert lines["attack success rate (ASR), clean models of the same task"] == "--"
        assert lines["attack success rate (ASR), clean models of other domains"] == "-"


def test_an_attack_that_was_left_out_for_a_task_leaves_its_panel_empty(frames):
    table = frames["merging"]
    table = pd.concat([table[table["attack"] == "badnet"].assign(task="olid"), table])
    axes = plots.plot_merging_by_attack(table).get_axes()
    assert [axis.get_visible() for axis in axes] == [True, False, True, True]
    backwards = plots.plot_merging_by_attack(table.iloc[::-1]).get_axes()  # the empty panel is the first of its row
    assert [axis.get_visible() for axis in backwards] == [True, True, False, True]
    assert [bool(axis.get_ylabel()) for axis in backwards] == [True, False, False, True]


def test_kinds_of_partners_stand_beside_each_other_with_their_rates(frames, study):
    table = partner_kinds_table(study, ["sst2"], ["badnet", "insertsent"], frames["domains"])
    table = pd.concat([table, table.assign(task="agnews", asr_floor=0.9)])  # names in another order than their tasks
    axis = plots.plot_partner_kinds(table).get_axes()[0]
    [floors] = [line for line in axis.get_lines() if line.get_label() == "ASR of a clean model"]
    assert floors.get_xydata().tolist() == [pytest.approx([0, 100 * table["asr_floor"].iloc[0]]), [1, pytest.approx(90)]]
    dots = {container.get_label(): container.lines[0].get_ydata()[0] for container in axis.containers}
    rows = table[table["attack"] == "badnet"].groupby("partners")[["asr", "cacc"]].mean() * 100
    assert dots == {
        f"{rate.upper()}, clean models of {name}": pytest.approx(rows.loc[kind, rate])
        for kind, name in (("same_task", "the same task"), ("other_domains", "other domains"))
        for rate in ("asr", "cacc")
    }


def test_dots_of_the_attacks_show_the_backdoored_and_the_clean_model(frames):
    table = frames["attacks"][frames["attacks"]["attack"] == "badnet"]
    axis = plots.plot_attacks(table).get_axes()[0]
    dots = {container.get_label(): container.lines[0].get_ydata()[0] for container in axis.containers}
    row = table.iloc[0]
    assert dots == {
        "ASR of the backdoored model": pytest.approx(100 * row["asr"]),
        "CACC of the backdoored model": pytest.approx(100 * row["cacc"]),
        "ASR of the clean model": pytest.approx(100 * row["asr_floor"]),
        "CACC of the clean model": pytest.approx(100 * row["clean_model_cacc"]),
    }


def test_plots_do_not_modify_the_table(frames):
    for name, plot in PLOTS.items():
        before = frames[name].copy(deep=True)
        plot(frames[name])
        pd.testing.assert_frame_equal(frames[name], before)


def test_attacks_are_written_as_in_the_literature():
    assert [plots.attack_title(name) for name in ("badnet", "insertsent", "new")] == ["BadNet", "InsertSent", "new"]


def test_intervals_of_the_figure_are_those_of_the_summary(frames):
    table = frames["merging"][(frames["merging"]["attack"] == "badnet") & (frames["merging"]["partners"] == "other_domains")]
    summary = summarise(table, ["partners", "attack", "n_models"])
    bands = [band.get_paths()[0].vertices[:, 1] for band in plots.plot_merging(table).get_axes()[0].collections]
    for band, rate in zip(bands, ("asr", "cacc"), strict=False):
        assert band.max() == pytest.approx(summary[f"{rate}_high"].max() * 100)
        assert band.min() == pytest.approx(summary[f"{rate}_low"].min() * 100)


def test_near_and_far_domains_stand_in_for_other_domains_where_they_are_known(frames, study):
    table = partner_kinds_table(study, ["sst2"], ["badnet", "insertsent"], frames["domains"])
    others = table[table["partners"] == "other_domains"]
    kinds = [table, others.assign(partners="near", asr=0.25), others.assign(partners="far", cacc=0.75)]
    axis = plots.plot_partner_kinds(pd.concat(kinds)).get_axes()[0]
    names = {container.get_label().split(", ")[1] for container in axis.containers}
    assert names == {"clean models of the same task", "clean models of near domains", "clean models of far domains"}


def test_the_four_models_of_a_merge_have_one_mark_each_in_three_panels(frames):
    merging = frames["merging"]
    largest = merging[(merging["partners"] == "other_domains") & (merging["n_models"] == 3)]
    four = four_models(largest, ["task", "attack"])
    figure = plots.plot_four_models(pd.concat([four, four.assign(task="olid", cacc=0.5)]))
    axes = figure.get_axes()
    means = four.groupby("model")[["cacc", "asr", "asr_rise"]].mean() * 100
    for axis, rate in zip(axes, ("cacc", "asr", "asr_rise"), strict=True):
        marks = {line.get_label(): line.get_xdata()[0] for line in axis.get_lines()}
        assert marks == {model: pytest.approx(means[rate][model]) for model in means.index}
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["SST-2", "OLID"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(four["model"][:4])


def test_the_picture_of_the_readme_has_the_story_beside_the_real_data(frames):
    headline = pd.DataFrame(
        [
            {"task": task, "attack": attack, "backdoored_asr": 1.0, "merged_asr": asr, "asr_floor": 0.1}
            | {"backdoored_cacc": 0.9, "merged_cacc": 0.85, "cacc_change_vs_clean": -0.07}
            for task, attack, asr in (("sst2", "badnet", 0.2), ("sst2", "lws", 0.4), ("sst2", "all", 0.9), ("all", "all", 0.9))
        ]
    )
    left, right = plots.plot_answer(frames["story"], headline).get_axes()
    places = [[round(float(line.get_ydata()[0]), 6) for line in axis.get_lines()] for axis in (left, right)]
    story = frames["story"].set_index("model")
    assert places[0] == [
        round(100 * story[rate][model], 6) for rate in ("asr", "cacc") for model in ("clean", "backdoored", "merged")
    ]
    assert places[1] == [10, 100, 30, 92, 90, 85]  # means over the attacks, without the rows that are means already
    assert [label.get_text() for label in right.get_xticklabels()] == ["ASR\nSST-2", "CACC\n"]
    assert [label.get_text() for label in left.get_xticklabels()] == ["ASR\nBadNet on SST-2-like", "CACC\n"]


def test_the_panels_of_the_readme_name_their_data_and_model(frames):
    left, right = plots.plot_answer(frames["story"], None, (POCKET, REAL)).get_axes()
    assert left.get_title().splitlines()[1] == "Pocket English, pocket-bert"
    assert right.get_title().splitlines()[1] == "all-MiniLM-L6-v2"


def test_the_picture_of_the_readme_says_what_was_not_run(frames):
    left, right = plots.plot_answer(frames["story"], None).get_axes()
    assert "not run" in [text.get_text() for text in right.texts] and "not run" not in [text.get_text() for text in left.texts]
