"""The program starts fast because it loads little, and says what it can do."""

import logging
import subprocess
import sys

HEAVY = ("torch", "timm", "numpy", "sklearn", "scipy", "polars", "PIL", "cv2", "matplotlib", "pydantic", "yaml")


def loaded_by(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_the_command_line_loads_nothing_heavy():
    assert loaded_by("import chiron.cli.main") <= {"pydantic"}


def test_importing_chiron_loads_nothing_heavy():
    assert loaded_by("import chiron") == set()


def test_checking_a_recipe_loads_neither_torch_nor_timm():
    check = "from chiron.cli.main import run; assert run(['check', 'phantom_cxr/h_coatnet_nano']) == 0"
    assert not loaded_by(check) & {"torch", "timm", "numpy", "sklearn"}


def test_what_runs_exported_networks_needs_no_torch():
    assert not loaded_by("import chiron.predictor, chiron.scorer") & {"torch", "timm", "torchvision"}


MODULES = ["chiron.core.process", "chiron.spec.recipe", "chiron.metrics.evaluation", "chiron.data.reading",
           "chiron.classifier"]  # fmt: skip


def test_importing_has_no_effect():
    """No logging set-up, seeds, environment writes or warning filters; each module is the first one imported."""
    script = """
import importlib, logging, os, random, sys, warnings
import torch, timm, matplotlib, polars, scipy.stats, cv2, pydicom.pixels  # theirs are not ours

def look():
    return dict(os.environ), list(warnings.filters), logging.root.handlers[:], random.getstate()

for module in sys.argv[1:]:
    if os.fork() == 0:
        before, torch_before = look(), torch.get_rng_state().sum()
        importlib.import_module(module)
        alike = look() == before and torch.get_rng_state().sum() == torch_before
        os._exit(0 if alike else 1)
    print(module, os.wait()[1])
"""
    done = subprocess.run([sys.executable, "-c", script, *MODULES], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{module} 0" for module in MODULES], done.stderr


def test_help_and_version(capsys):
    from chiron.cli.main import run

    assert run(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for verb in ("train", "evaluate", "report", "predict", "demo", "check", "models", "recipes", "data"):
        assert verb in shown
    assert "not a medical device" in shown
    assert run(["--version"]) == 0
    assert "torch " in capsys.readouterr().out


def test_console_script_runs():
    done = subprocess.run([sys.executable, "-m", "chiron.cli.main", "recipes", "list"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "phantom_cxr/h_coatnet_nano.own" in done.stdout


def test_an_error_leaves_the_logs_of_others_open(tmp_path):
    from chiron.cli.main import run

    theirs = logging.FileHandler(tmp_path / "theirs.log")  # torch's own logs, once something was exported
    try:
        assert run(["recipes", "show", "nonsense"]) == 2
        assert theirs.stream is not None
        assert not theirs.stream.closed
    finally:
        theirs.close()
