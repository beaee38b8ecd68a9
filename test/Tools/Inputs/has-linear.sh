#!/bin/sh
# Interesting (exit status 1) as long as a linear layer is left.
if grep -q 'llq\.linear' "$1"; then
  exit 1
fi
exit 0
