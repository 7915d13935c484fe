"""C extension modules that are compiled for a test, as a user would: against yula.get_include()."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig

import pytest

import yula


def compile_extension(source, folder):
    """The path of the module, built from one C file with the machine's compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    headers = sysconfig.get_path("include")
    if not compiler:
        pytest.skip("no C compiler on this machine")
    if not os.path.exists(os.path.join(headers, "Python.h")):
        pytest.skip(f"no Python headers in {headers}")
    built = folder / (source.stem + sysconfig.get_config_var("EXT_SUFFIX"))
    command = [*compiler.split(), "-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
               "-Wno-unused-parameter", "-Wno-missing-field-initializers",
               "-Wno-cast-function-type", "-shared", "-fPIC",
               f"-I{headers}", f"-I{yula.get_include()}",
               str(source), "-o", str(built)]  # fmt: skip
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return built


def load_extension(path):
    spec = importlib.util.spec_from_file_location(path.name.partition(".")[0], path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[spec.name] = module
    return module
