# SPDX-License-Identifier: BSD-2-Clause
"""Reads what count_preload.c has counted: a file for each process image."""

import pathlib
import struct

KINDS = ("alloc", "free", "alloc_failed")


TRACERS = ("kmemscope",)  # the command itself is started with the same environment


def read(folder):
    """A list of (pid, {kind: count}) of the traced images."""
    images = []
    for path in sorted(pathlib.Path(folder).iterdir()):
        pid, *numbers, program = struct.unpack_from("<4Q256s", path.read_bytes())
        if pathlib.Path(program.split(b"\0")[0].decode()).name not in TRACERS:
            images.append((pid, dict(zip(KINDS, numbers))))
    return images


def total(images):
    return {kind: sum(counts[kind] for _, counts in images) for kind in KINDS}
