#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of tests/peers/run, of the folder with its results: a file "peers" of lines "FORMAT PROGRAM PREFILL DECODE
READ READ" (tokens/s, and what memory gave in GB/s before and after) or "image PROGRAM MILLISECONDS", and the reports of
llavamore-bench, one file a round."""
import collections
import json
import pathlib
import statistics
import sys

folder = pathlib.Path(sys.argv[1])
peers = collections.defaultdict(list)
for line in (folder / "peers").read_text().splitlines():
    what, program, *numbers = line.split()
    for kind, number in zip(["image"] if what == "image" else ["prefill", "decode"], numbers):
        if float(number) > 0:
            peers[what, kind, program].append(float(number))
    if len(numbers) == 4 and float(numbers[1]) > 0:
        read = (float(numbers[2]) + float(numbers[3])) / 2 * 1e9
        peers[what, "tokens a byte", program].append(float(numbers[1]) / read)


def ours(pattern, name):
    """The rows whose name begins with `name` of all rounds' reports, and the machine of the last."""
    rows, machine = [], None
    for path in sorted(folder.glob(pattern)):
        report = json.loads(path.read_text())
        machine = report["machine"]
        rows += [row for row in report["rows"] if row["name"].startswith(name) and "behind" not in row["name"]]
    return rows, machine


def limit(row, at):
    """What the machine allows, in the row's unit, and the share of it."""
    share = row["limits"][at]["share"]
    return (row["median"] * share if row["better"] == "less" else row["median"] / share), share


def spread(values, digits=1):
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]" if values else "-"


def line(title, rows, what, kind, digits, less):
    values = [row["median"] for row in rows]
    mine = statistics.median(values)
    best, cells = None, []
    for program in ("llama.cpp", "ik_llama.cpp"):
        found = [value / 1000 if less else value for value in peers[what, kind, program]]
        share = ""
        if kind == "decode" and peers[what, "tokens a byte", program]:
            share = f", {100 * rows[0]['bytes'] * statistics.median(peers[what, 'tokens a byte', program]):.0f}% of read"
        cells.append(spread(found, digits) + share)
        if found:
            middle = statistics.median(found)
            best = middle if best is None else (min if less else max)(best, middle)
    limits = []
    for at, entry in enumerate(rows[0]["limits"]):
        shares = [row["limits"][at]["share"] for row in rows if len(row["limits"]) > at]
        allowed = statistics.median(limit(row, at)[0] for row in rows if len(row["limits"]) > at)
        limits.append(f"{100 * statistics.median(shares):.0f}% of {entry['name']} ({allowed:.{digits}f})")
    ratio = "-" if best is None else f"{best / mine if less else mine / best:.2f}x"
    print(f"| {title} | {spread(values, digits)} | {cells[0]} | {cells[1]} | {ratio} | {'; '.join(limits)} |")


def main():
    printed = False
    formats = sorted({path.name.split("-")[1] for path in folder.glob("ours-*.json")}, reverse=True)
    for what in formats:
        for kind in ("prefill", "decode"):
            rows, machine = ours(f"ours-{what}-*.json", kind)
            if not rows:
                continue
            if not printed:
                print(f"{machine['cpu']}, {machine['kernels']} kernels, {machine['threads']} threads; tokens/s and seconds:"
                      " median [lowest-highest]\n")
                print("| work | this runtime | llama.cpp | ik_llama.cpp | against the faster | share of the limit |")
                print("|---|---|---|---|---|---|")
                printed = True
            line(f"Gemma-2-2B {rows[0]['name']}, {what}", rows, what, kind, 1, False)
    for arithmetic in ("auto", "fast"):
        rows, _ = ours(f"image-{arithmetic}-*.json", "image")
        if rows:
            line(f"CLIP ViT-L/14-336 image, f16, arithmetic {arithmetic}", rows, "image", "image", 3, True)


main()
