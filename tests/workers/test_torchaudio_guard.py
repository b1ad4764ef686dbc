"""torchaudio beside a torch that its native part does not fit: each test in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_EXTENSION = """
{first}
_IS_TORCHAUDIO_EXT_AVAILABLE = True
_IS_ALIGN_AVAILABLE = True
fail_if_no_align = lambda function: function
"""
_PACKAGE = """
from . import _extension
from .functional import works
"""
_FUNCTIONAL = """
from torchaudio._extension import _IS_TORCHAUDIO_EXT_AVAILABLE, fail_if_no_align
def works():
    return "native" if _IS_TORCHAUDIO_EXT_AVAILABLE else "python"
@fail_if_no_align
def align():
    return "aligned"
"""


def python(script: str, *paths: Path) -> str:
    """Run a script in a fresh interpreter; what it prints, or its last line of complaint."""
    path = "".join(f"sys.path.insert(0, {str(folder)!r}); " for folder in (ROOT, *paths))
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {path}\n{script}"], capture_output=True, text=True, check=False
    )
    return (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1]


def torchaudio_of(folder: Path, first: str) -> Path:
    """A package of torchaudio's build whose native part begins with this line."""
    package = folder / "torchaudio"
    (package / "_extension").mkdir(parents=True)
    (package / "__init__.py").write_text(_PACKAGE)
    (package / "functional.py").write_text(_FUNCTIONAL)
    (package / "_extension" / "__init__.py").write_text(_EXTENSION.format(first=first))
    return folder


@pytest.mark.parametrize(
    "failure", ["OSError('libcudart.so.13')", "ImportError('undefined symbol')", "RuntimeError('other CUDA')"]
)
def test_where_the_native_part_fails_the_python_part_works(tmp_path: Path, failure: str) -> None:
    folder = torchaudio_of(tmp_path, f"raise {failure}")
    assert python("import workers.engines, torchaudio; print(torchaudio.works())", folder) == "python"


def test_what_is_nothing_without_the_native_part_says_so_when_it_is_called(tmp_path: Path) -> None:
    folder = torchaudio_of(tmp_path, "raise OSError('libcudart.so.13')")
    complaint = python("import workers.engines; from torchaudio.functional import align; align()", folder)
    assert complaint == "RuntimeError: torchaudio's align needs its native part, which does not load on this host"


def test_where_the_native_part_loads_nothing_is_replaced(tmp_path: Path) -> None:
    folder = torchaudio_of(tmp_path, "")
    script = "import workers.engines, torchaudio.functional as f; print(f.works(), f.align())"
    assert python(script, folder) == "native aligned"


def test_a_failure_of_another_kind_is_not_hidden(tmp_path: Path) -> None:
    folder = torchaudio_of(tmp_path, "raise ValueError('a bug')")
    assert python("import workers.engines, torchaudio", folder) == "ValueError: a bug"


def test_without_the_guard_the_import_fails(tmp_path: Path) -> None:
    folder = torchaudio_of(tmp_path, "raise OSError('libcudart.so.13')")
    assert python("import torchaudio", folder) == "OSError: libcudart.so.13"


def test_a_host_without_torchaudio_still_says_that_it_is_missing() -> None:
    script = "import workers.engines; sys.path[:] = []; import torchaudio"
    assert python(script) == "ModuleNotFoundError: No module named 'torchaudio'"


def test_installing_it_again_changes_nothing() -> None:
    script = "from workers.engines import torchaudio_guard as g; g.install(); g.install(); "
    script += "print(sum('torchaudio_guard' in type(finder).__module__ for finder in sys.meta_path))"
    assert python(script) == "1"


def test_the_guard_itself_imports_nothing_heavy() -> None:
    assert python("import workers.engines; print('torch' in sys.modules, 'torchaudio' in sys.modules)") == "False False"


@pytest.mark.slow
def test_the_installed_torchaudio_works_and_diffusers_and_transformers_beside_it() -> None:
    script = """
import workers.engines, diffusers, transformers, speechbrain, torch, torchaudio
from diffusers import AutoPipelineForText2Image
from transformers import CLIPTextModel
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
sound = torch.sin(torch.arange(16000) / 16000 * 2 * 3.14159 * 440)[None]
half = torchaudio.functional.resample(sound, 16000, 8000)
mels = torchaudio.transforms.MelSpectrogram(8000, n_fft=400, n_mels=40)(half)
lower = torchaudio.functional.lowpass_biquad(half, 8000, 100.0)
print(tuple(half.shape), mels.shape[1], bool(lower.abs().mean() < half.abs().mean() / 4))
"""
    assert python(script) == "(1, 8000) 40 True"


@pytest.mark.slow
def test_diffusers_can_also_be_imported_after_speechbrain() -> None:
    script = """
import workers.engines
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
from transformers import CLIPTextModel
from diffusers import AutoPipelineForText2Image
print("all there")
"""
    assert python(script) == "all there"
