# SPDX-License-Identifier: BSD-2-Clause
"""The table of the measurements of guests: what, target, what was seen, whether it holds."""

import os
import statistics


def median(samples):
    return statistics.median(samples)


def head(title):
    print(f"\n{title}; load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    print(f"{'':52} {'target':>16} {'seen':>34}  verdict", flush=True)


def row(what, target, seen, holds=None):
    """One row; holds None: there is no target."""
    verdict = "" if holds is None else "holds" if holds else "MISSED"
    print(f"{what:52} {target:>16} {seen:>34}  {verdict}", flush=True)


def number(value):
    """1,234,567 as 1.23 M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.2f} {name}"
    return f"{value:.1f}"
