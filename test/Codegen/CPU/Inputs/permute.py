"""Prints a function that puts COLUMNS channels in the opposite order."""

import struct
import sys

columns = int(sys.argv[1])
order = struct.pack(f"<{columns}i", *range(columns - 1, -1, -1)).hex()
print(
    f"""
func.func @forward(%past: index, %x: tensor<?x{columns}xf32>) -> tensor<?x{columns}xf32> {{
  %y = llq.permute_channels %x by dense<"0x{order}"> : tensor<{columns}xi32> : tensor<?x{columns}xf32>
  return %y : tensor<?x{columns}xf32>
}}"""
)
