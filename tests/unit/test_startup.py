"""Imports that leave out what a short job would wait for."""

import subprocess
import sys

LAYERS_ALONE = """
import sys
from dbbench.compat import import_torchvision
from dbbench.startup import import_timm_layers

layers = import_timm_layers()
assert layers.Attention(8, 2) and layers.Mlp(8)
assert "torch._dynamo" not in sys.modules, "PyTorch's compiler came along"
assert not {"timm", "torchvision", "torchvision.models"} & set(sys.modules), "a bare package stayed behind"

assert import_torchvision().transforms and import_torchvision().ops.nms
import timm

assert timm.create_model and import_timm_layers() is layers
"""

TORCHVISION_FIRST = """
import sys
from dbbench.compat import import_torchvision
from dbbench.startup import import_timm_layers

whole = import_torchvision()
import_timm_layers()
assert sys.modules["torchvision"] is whole and sys.modules["torchvision.models"] is whole.models
"""


def run(program: str) -> None:
    """In a process of its own, since imports are remembered."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_layers_of_timm_come_without_the_compiler_and_leave_both_packages_whole() -> None:
    run(LAYERS_ALONE)


def test_layers_of_timm_leave_a_torchvision_that_is_loaded_alone() -> None:
    run(TORCHVISION_FIRST)
