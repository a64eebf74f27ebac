"""The example of a new attack in its README: one file and one line, run on a copy of the library."""

import re
import shutil
import subprocess
import sys

from lib.paths import ROOT

CHECK = """
import numpy as np, pandas as pd
from lib.attacks import ATTACKS, load_trigger, poison, save_trigger, trigger_types
train = pd.DataFrame({"text": ["a film"] * 10, "label": [0, 1] * 5})
trigger = ATTACKS["suffix"](train, 0, seed=0)
rows = poison(train, trigger, 0.2, 0, np.random.default_rng(0))
assert (rows["text"][rows["is_poisoned"]] == "a film , they say").all()
from pathlib import Path
save_trigger(trigger, Path("t.json"))
assert load_trigger(Path("t.json"), trigger_types()) == trigger
from lib.study.study import Study
recipe = Study("pocket", cache_dir="cache").recipe("sst2", "suffix")
assert dict(recipe.trigger.settings) == {"suffix": ", they say"}
"""


def test_a_new_attack_is_one_file_and_one_line(tmp_path):
    readme = (ROOT / "lib" / "attacks" / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(# lib/attacks/suffix\.py\n.*?)```", readme, re.S).group(1)
    line = re.search(r'^ {4}"suffix": suffix\.fit_trigger,$', readme, re.M).group()
    assert len([row for row in code.splitlines() if row.strip() and not row.startswith("#")]) <= 20
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "data").mkdir()
    shutil.copytree(ROOT / "data" / "pocket", tmp_path / "data" / "pocket")
    (tmp_path / "lib" / "attacks" / "suffix.py").write_text(code, encoding="utf-8")
    registry = tmp_path / "lib" / "attacks" / "__init__.py"
    text = registry.read_text(encoding="utf-8")
    text = text.replace('    "bite": bite.fit_trigger,\n', f'    "bite": bite.fit_trigger,\n{line}\n')
    registry.write_text(text.replace("import badnet, bite,", "import badnet, bite, suffix,"), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-c", CHECK],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
