"""Two models in folders of their own, and the command that merges them."""

import shutil
from types import SimpleNamespace

import pytest

from lib import sanitize


@pytest.fixture
def folders(backdoored, clean, tmp_path):
    """Copies of a backdoored and of a clean model."""
    return [shutil.copytree(model.folder, tmp_path / name) for model, name in ((backdoored, "suspect"), (clean, "other"))]


@pytest.fixture
def run(capsys, tmp_path):
    """Run the command; returns exit status, standard output and standard error."""

    def call(*arguments, output=tmp_path / "merged"):
        status = sanitize.main([*(str(argument) for argument in arguments), "--output", str(output)])
        captured = capsys.readouterr()
        return SimpleNamespace(status=status, out=captured.out, error=captured.err, folder=output)

    return call
