# SPDX-License-Identifier: BSD-2-Clause
"""Reads what count_preload.c has counted: a file for each process image."""

import pathlib
import struct

KINDS = ("alloc", "free", "alloc_failed")


def read(folder):
    """A list of (pid, {kind: count})."""
    images = []
    for path in sorted(pathlib.Path(folder).iterdir()):
        pid, *numbers = struct.unpack_from("<4Q", path.read_bytes())
        images.append((pid, dict(zip(KINDS, numbers))))
    return images


def total(images):
    return {kind: sum(counts[kind] for _, counts in images) for kind in KINDS}
