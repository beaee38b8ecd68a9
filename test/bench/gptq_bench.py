#!/usr/bin/env python3
"""Times llq-gptq-bench and the published algorithm in NumPy on one layer, in turn.

The algorithm is that of arXiv 2210.17323 as its authors' code runs it: f32,
Cholesky of the damped Hessian, its inverse, upper Cholesky of the inverse, blocks
of 128 columns, one column at a time, one product per block. Factorizations are
LAPACK's through SciPy if it is there (what PyTorch calls too), else NumPy's.

    gptq_bench.py build/release/bin/llq-gptq-bench --rows 4096 --columns 14336

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


def upper_of_inverse(np, hessian):
    """U with hessian^-1 = U^T U."""
    try:
        from scipy.linalg import lapack

        lower, info = lapack.spotrf(hessian, lower=1, overwrite_a=1)
        assert info == 0
        inverse, info = lapack.spotri(lower, lower=1, overwrite_c=1)
        assert info == 0
        # The lower half of the inverse is the upper half of its transpose.
        upper, info = lapack.spotrf(inverse.T, lower=0, overwrite_a=1)
        assert info == 0
        return np.triu(upper)
    except ImportError:
        inverse = np.linalg.inv(hessian)
        return np.linalg.cholesky(inverse).T.copy()


def gptq(np, w, hessian, bits, group, damp=0.01, block=128):
    """Codes' values in f32, and the sum of squared errors."""
    w = w.copy()
    rows, columns = w.shape
    group = group or columns
    top = 2**bits - 1
    diagonal = np.diagonal(hessian)
    hessian = hessian + np.float32(damp * diagonal.mean()) * np.eye(
        columns, dtype=np.float32)
    u = upper_of_inverse(np, hessian)
    result = np.empty_like(w)
    loss = 0.0
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        current = w[:, begin:end].copy()
        errors = np.empty_like(current)
        uu = np.ascontiguousarray(u[begin:end, begin:end])
        for j in range(end - begin):
            if (begin + j) % group == 0:
                values = w[:, begin + j:begin + j + group]
                low = np.minimum(values.min(axis=1), 0)
                high = np.maximum(values.max(axis=1), 0)
                scale = ((high - low) / top).astype(np.float16).astype(
                    np.float32)
                zero = np.round(-low / scale)
            column = current[:, j]
            code = np.clip(np.round(column / scale) + zero, 0, top)
            rounded = scale * (code - zero)
            result[:, begin + j] = rounded
            error = (column - rounded) / uu[j, j]
            loss += float((error.astype(np.float64)**2).sum())
            current[:, j:] -= np.outer(error, uu[j, j:])
            errors[:, j] = error
        w[:, end:] -= errors @ u[begin:end, end:]
    return result, loss


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--columns", type=int, default=14336)
    parser.add_argument("--group-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
    import numpy as np

    command = [args.bench, str(args.rows), str(args.columns),
               str(args.group_size), str(args.threads)]
    ours, theirs = [], []
    for run in range(args.runs):
        with tempfile.TemporaryDirectory() as directory:
            text = subprocess.run(
                command + ([directory] if run == 0 else []),
                check=True, stdout=subprocess.PIPE, text=True).stdout
            if run == 0:
                weights = np.fromfile(f"{directory}/weights.f32", np.float32)
                moment = np.fromfile(f"{directory}/moment.f32", np.float32)
                weights = weights.reshape(args.rows, args.columns)
                moment = moment.reshape(args.columns, args.columns)
        ours.append(dict(line.split(" ", 1) for line in text.splitlines()))
        start = time.perf_counter()
        rounded, loss = gptq(np, weights, moment, 4, args.group_size)
        theirs.append(time.perf_counter() - start)

    def spread(values):
        return {"median": statistics.median(values), "min": min(values),
                "max": max(values), "runs": len(values)}

    delta = weights - rounded
    error = float(((delta @ moment) * delta).sum(dtype=np.float64))
    seconds = {key: spread([float(run[key]) for run in ours])
               for key in ("factor_seconds", "round_seconds", "seconds")}
    print(json.dumps({
        "rows": args.rows, "columns": args.columns,
        "group_size": args.group_size, "threads": args.threads,
        "llq": {**seconds,
                "squared_errors": float(ours[0]["squared_errors"]),
                "output_error": float(ours[0]["output_error"]),
                "output_error_rtn": float(ours[0]["output_error_rtn"])},
        "numpy": {"seconds": spread(theirs), "squared_errors": loss,
                  "output_error": error, "scipy": "scipy" in sys.modules},
        "ratio": statistics.median(theirs) / seconds["seconds"]["median"],
    }, indent=2))


if __name__ == "__main__":
    main()
