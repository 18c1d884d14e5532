"""What a method's source declares holds all that the method has, and is read without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kdbench.declared import declared_parameters
from kdbench.plugins import find_plugin, list_plugins, load_method

BUILT_IN = [name for name, [plugin, *_] in list_plugins().items() if plugin.distribution == "kdbench"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_parameter_of_a_method_is_found_in_its_source(name: str) -> None:
    assert set(load_method(name).Params.model_fields) <= declared_parameters(find_plugin(name).target)


def test_a_method_of_few_parameters_is_not_credited_with_those_of_all() -> None:
    assert declared_parameters(find_plugin("label_smoothing").target) == {"smoothing"}
    assert declared_parameters(find_plugin("vanilla").target) == set()


def test_a_wrong_parameter_is_answered_without_torch() -> None:
    code = """
import sys
from kdbench.commands.request import Request, check_request
from kdbench.errors import KdbenchError
try:
    check_request(Request("digits", ("kd", "at"), settings=("temprature=2",)))
except KdbenchError as error:
    print(error)
sys.exit("torch" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "kd and at has no parameter 'temprature'. Did you mean 'temperature'?" in shown.stdout
