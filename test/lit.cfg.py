"""Configuration of the lit tests; see docs/Testing.md.

SPDX-License-Identifier: Apache-2.0
"""

import ctypes
import os
import platform

import lit.formats


def has_cuda():
    """Whether the driver is there and sees a device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return (
        driver.cuInit(0) == 0
        and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
    )


config.name = "LLQ"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["unit", "lib", "models", "Damage", "Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.llq_obj_root, "test")

config.environment["PATH"] = os.path.pathsep.join(
    [config.llq_tools_dir, config.llvm_tools_dir, config.environment["PATH"]]
)
# Read by the sanitizers' run-time libraries.
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

config.substitutions.append(("%llq_lib_dir", config.llq_lib_dir))
config.substitutions.append(("%python", config.python))
# The bundled model with the weights of all its graphs.
config.substitutions.append(
    ("%models", os.path.join(config.test_exec_root, "models"))
)

if platform.machine() in ("x86_64", "AMD64"):
    config.available_features.add("x86")
if has_cuda():
    config.available_features.add("cuda")
