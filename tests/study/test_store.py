"""The store: an artifact is there whole or not at all, is checked when it is read, and is made by one process."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.study.recipes import DataRecipe
from lib.study.store import Store, StoreError

RECIPE = DataRecipe("sst2", "real", "abc", "text", "train", 100, 0)
OTHER = DataRecipe("sst2", "real", "abc", "text", "train", 100, 1)
# Another process that makes RECIPE's artifact: it says what it does, and writes half a file before it waits for a line.
WRITER = """
import sys
from pathlib import Path
from lib.study.recipes import DataRecipe
from lib.study.store import Store

def make(folder):
    (folder / "weights.bin").write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.readline()
    (folder / "weights.bin").write_bytes(b"complete")

print("asking", flush=True)
Store(Path(sys.argv[1])).get_or_make(DataRecipe("sst2", "real", "abc", "text", "train", 100, 0), make)
print("done", flush=True)
"""


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def write(folder):
    """A `make` of two files, one of them in a folder."""
    (folder / "weights.bin").write_bytes(b"complete")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.txt").write_text("cf mn bb")


def fail(folder):
    raise AssertionError("nothing should be made")


def files_of(folder: Path):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def visible(root: Path):
    return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))


def start_writer(root):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


# --- making and reading ----------------------------------------------------------------------------------------------------


def test_an_artifact_is_made_once_and_then_read(root):
    folder = Store(root).get_or_make(RECIPE, write)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert Store(root).get_or_make(RECIPE, fail) == folder == root / RECIPE.key
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert Store(root).has(RECIPE)


def test_an_artifact_says_what_made_it(root):
    content = json.loads((Store(root).get_or_make(RECIPE, write) / "artifact.json").read_text())
    assert content["kind"] == "DataRecipe"
    assert content["recipe"] == {
        "dataset": "sst2", "source": "real", "fingerprint": "abc", "pair_mode": "text", "split": "train", "n": 100, "seed": 0,
        "kind_version": 2,
    }  # fmt: skip
    assert set(content["files"]) == {"weights.bin", "tokenizer/vocab.txt"}


def test_an_artifact_says_how_long_it_took_without_what_it_needed(root):
    store = Store(root)

    def work(folder):
        began = time.process_time()
        while time.process_time() < began + 0.2:
            sum(range(1000))
        write(folder)

    def outer(folder):
        Store(root).get_or_make(RECIPE, work)  # another object of the same store
        write(folder)

    store.get_or_make(OTHER, outer)
    seconds = [json.loads((store.folder(recipe) / "artifact.json").read_text())["core_seconds"] for recipe in (RECIPE, OTHER)]
    assert seconds[0] >= 0.2
    assert 0 <= seconds[1] < 0.15


def test_looking_for_an_artifact_writes_nothing(root):
    assert not Store(root).has(RECIPE)
    assert not root.exists()


def test_artifacts_of_different_recipes_lie_side_by_side(root):
    store = Store(root)
    store.get_or_make(RECIPE, write)
    store.get_or_make(OTHER, write)
    assert visible(root) == sorted([RECIPE.key, OTHER.key])


# --- killed writers --------------------------------------------------------------------------------------------------------


def test_a_make_that_fails_leaves_nothing_and_the_next_call_makes_it(root):
    def half(folder):
        (folder / "weights.bin").write_bytes(b"half")
        raise RuntimeError("interrupted")

    store = Store(root)
    with pytest.raises(RuntimeError, match="interrupted"):
        store.get_or_make(RECIPE, half)
    assert not store.has(RECIPE)
    assert visible(root) == []
    assert (store.get_or_make(RECIPE, write) / "weights.bin").read_bytes() == b"complete"


def test_a_make_that_is_interrupted_from_the_keyboard_leaves_nothing(root):
    def interrupted(folder):
        (folder / "weights.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(root).get_or_make(RECIPE, interrupted)
    assert visible(root) == []


def test_a_killed_process_leaves_nothing_under_the_final_name_and_the_next_call_makes_it(root):
    with start_writer(root) as writer:
        assert [writer.stdout.readline().strip() for _ in range(2)] == ["asking", "writing"]
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    assert any(path.read_bytes() == b"half" for path in root.rglob("weights.bin"))  # it did die half-way
    store = Store(root)
    assert not store.has(RECIPE)
    assert visible(root) == []
    folder = store.get_or_make(RECIPE, write)
    assert files_of(folder).keys() == {"weights.bin", "tokenizer/vocab.txt", "artifact.json"}
    assert not list(root.glob("*.partial")) + list(root.glob(".*.partial"))


def test_of_two_processes_that_want_the_same_artifact_one_makes_it_and_the_other_waits(root):
    with start_writer(root) as first:
        assert [first.stdout.readline().strip() for _ in range(2)] == ["asking", "writing"]
        with start_writer(root) as second:
            assert second.stdout.readline().strip() == "asking"
            first.communicate("go on\n")
            said, _ = second.communicate()  # closes its stdin: a second writer would not wait for a line
    assert said.split() == ["done"]  # and not "writing"
    assert (first.returncode, second.returncode) == (0, 0)
    assert files_of(root / RECIPE.key)["weights.bin"] == b"complete"


def test_what_another_process_makes_at_this_moment_is_known(root):
    assert not Store(root).is_being_made(RECIPE)
    assert not root.exists()  # looking writes nothing
    with start_writer(root) as other:
        assert [other.stdout.readline().strip() for _ in range(2)] == ["asking", "writing"]
        assert Store(root).is_being_made(RECIPE)
        assert not Store(root).is_being_made(OTHER)
        other.communicate("go on\n")
    assert not Store(root).is_being_made(RECIPE)


# --- damage ----------------------------------------------------------------------------------------------------------------


def alter(folder):
    (folder / "weights.bin").write_bytes(b"Complete")


def alter_and_keep_the_time(folder):
    stamp = (folder / "weights.bin").stat()
    alter(folder)
    os.utime(folder / "weights.bin", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


DAMAGES = {
    "truncated": lambda folder: (folder / "weights.bin").write_bytes(b"comp"),
    "emptied": lambda folder: (folder / "weights.bin").write_bytes(b""),
    "altered": alter,
    "altered at the same time": alter_and_keep_the_time,
    "missing": lambda folder: (folder / "tokenizer" / "vocab.txt").unlink(),
    "without its list of files": lambda folder: (folder / "artifact.json").unlink(),
    "with an empty list of files": lambda folder: (folder / "artifact.json").write_text(""),
    "with a list of files that is none": lambda folder: (folder / "artifact.json").write_text("[1, 2]"),
    "empty": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_artifact_is_found_warned_of_and_made_again(root, damage):
    folder = Store(root).get_or_make(RECIPE, write)
    DAMAGES[damage](folder)
    store = Store(root)
    assert not store.has(RECIPE)
    with pytest.warns(UserWarning, match=rf"artifact {RECIPE.key} in .* is damaged and is made again"):
        store.get_or_make(RECIPE, write)
    assert store.has(RECIPE)
    assert files_of(folder)["weights.bin"] == b"complete"


def test_damage_is_found_by_a_store_that_knew_the_artifact_to_be_sound(root):
    store = Store(root)
    folder = store.get_or_make(RECIPE, write)
    assert store.has(RECIPE)
    os.utime(folder / "weights.bin", ns=(1, 1))
    assert store.has(RECIPE)  # another time, the same content
    alter(folder)
    assert not store.has(RECIPE)


# --- a store that cannot be written ----------------------------------------------------------------------------------------


WAY_OUT = r"set FREE_LUNCH_CACHE to another folder"


def test_a_store_below_a_file_raises_and_names_the_folder_and_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=rf"cannot write to the store {tmp_path}/file/cache: Not a directory.*{WAY_OUT}"):
        Store(tmp_path / "file" / "cache").get_or_make(RECIPE, write)


def test_a_store_that_is_a_file_raises_and_names_it_and_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=rf"cannot write to the store {tmp_path}/file.*{WAY_OUT}"):
        Store(tmp_path / "file").get_or_make(RECIPE, write)


def test_a_store_whose_parent_cannot_be_made_raises_and_names_the_store(tmp_path, monkeypatch):
    make_folder = os.mkdir

    def mkdir(path, *arguments):
        if Path(path) == tmp_path / "new":  # the error is about this folder, the one to name is the store below it
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        make_folder(path, *arguments)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(StoreError, match=rf"cannot write to the store {tmp_path}/new/cache: Read-only.*{WAY_OUT}"):
        Store(tmp_path / "new" / "cache").get_or_make(RECIPE, write)


def cannot(code):
    def call(*arguments, **settings):
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize(("code", "words"), [(errno.EROFS, "Read-only file system"), (errno.EACCES, "Permission denied")])
def test_a_read_only_store_still_serves_what_it_has_and_says_why_it_cannot_take_more(root, monkeypatch, code, words):
    folder = Store(root).get_or_make(RECIPE, write)
    before = files_of(folder)
    monkeypatch.setattr(Path, "mkdir", cannot(code))
    assert Store(root).get_or_make(RECIPE, fail) == folder
    with pytest.raises(StoreError, match=rf"cannot write to the store {root}: {words}.*{WAY_OUT}") as caught:
        Store(root).get_or_make(OTHER, write)
    assert caught.value.errno == code
    assert files_of(folder) == before


@pytest.mark.parametrize("step", ["make", "flush", "rename"])
def test_a_full_store_raises_keeps_what_it_has_and_leaves_nothing_half_written(root, monkeypatch, step):
    folder = Store(root).get_or_make(RECIPE, write)
    before = files_of(folder)
    if step != "make":
        monkeypatch.setattr(os, {"flush": "fsync", "rename": "replace"}[step], cannot(errno.ENOSPC))
    with pytest.raises(StoreError, match=rf"cannot write to the store {root}: No space left on device.*{WAY_OUT}"):
        Store(root).get_or_make(OTHER, cannot(errno.ENOSPC) if step == "make" else write)
    monkeypatch.undo()
    assert files_of(folder) == before
    assert visible(root) == [RECIPE.key]
    assert Store(root).has(RECIPE)
    assert Store(root).get_or_make(OTHER, write).is_dir()  # once there is space again


def test_errors_that_are_not_about_the_store_stay_what_they_are(root, tmp_path):
    (tmp_path / "data").write_text("")

    def without_network(folder):
        raise ConnectionError("no network")

    def without_data(folder):
        (tmp_path / "data" / "train.tsv").read_text()  # below a file: ENOTDIR, as it happens to folders of the store

    with pytest.raises(ConnectionError, match="no network"):
        Store(root).get_or_make(RECIPE, without_network)
    with pytest.raises(NotADirectoryError) as caught:
        Store(root).get_or_make(RECIPE, without_data)
    assert not isinstance(caught.value, StoreError)
