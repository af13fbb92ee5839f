"""Writes tests/unit/nn/resized.h: tables resized by torch.nn.functional.interpolate, for the test of nn_resize_table."""

import torch
from torch.nn import functional

from files import DATA
from parts import prepare

OUT = DATA.parents[1] / "unit" / "nn" / "resized.h"
MODES = {"NN_RESIZE_BICUBIC": dict(mode="bicubic"),
         "NN_RESIZE_BICUBIC_ANTIALIAS": dict(mode="bicubic", antialias=True),
         "NN_RESIZE_BILINEAR_ANTIALIAS": dict(mode="bilinear", antialias=True)}
# (rows in, columns in, width, rows out, columns out); of large results only every `step`-th value is kept.
CASES = [(4, 4, 2, 4, 4), (4, 3, 2, 6, 5), (7, 5, 3, 3, 2), (5, 8, 2, 5, 3), (1, 1, 3, 2, 4), (2, 9, 1, 3, 40), (6, 6, 2, 1, 4),
         (37, 37, 4, 16, 24), (16, 16, 259, 37, 23), (33, 32, 3, 38, 55), (200, 160, 3, 20, 10)]
MOST = 60


def table(rows, columns, width):
    """Values that a C test makes again exactly: multiples of 1/64 within +-2."""
    index = torch.arange(rows * columns * width, dtype=torch.int64)
    return ((index * index * 7 + index * 29) % 257 - 128).to(torch.float32).reshape(rows, columns, width) / 64


def main():
    """Writes the header."""
    prepare()
    lines, values = [], []
    for rows_in, columns_in, width, rows_out, columns_out in CASES:
        for name, mode in MODES.items():
            image = table(rows_in, columns_in, width).permute(2, 0, 1)[None]
            resized = functional.interpolate(image, size=(rows_out, columns_out), align_corners=False, **mode)
            flat = resized[0].permute(1, 2, 0).flatten()
            step = -(-len(flat) // MOST)
            kept = flat[::step].tolist()
            lines.append("    {%d, %d, %d, %d, %d, %s, %d, %d}," % (rows_in, columns_in, width, rows_out, columns_out, name,
                                                                    step, len(values)))
            values += kept
    numbers = ["%.9gf" % v if "." in "%.9g" % v or "e" in "%.9g" % v else "%d.0f" % v for v in values]
    text = "/* SPDX-License-Identifier: Apache-2.0\n *\n * Written by tests/oracle/interpolate.py with torch %s.\n */\n" \
        "/* clang-format off */\n" % torch.__version__.split("+")[0]
    text += "static const resize_case resize_cases[] = {\n" + "\n".join(lines) + "\n};\n\n"
    text += "static const float resized_values[] = {\n"
    for i in range(0, len(numbers), 8):
        text += "    " + ", ".join(numbers[i:i + 8]) + ",\n"
    OUT.write_text(text + "};\n/* clang-format on */\n", encoding="ascii")
    print("resized.h: %d values of %d tables" % (len(values), len(lines)))


if __name__ == "__main__":
    main()
