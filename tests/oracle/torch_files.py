"""Writes files of torch.save, well-formed and hostile, for the unit tests and the fuzzer.

torch_files.py: into tests/unit/weights/data/torch and tests/fuzz/corpus/torch. The hostile ones are archives made by hand
around pickles made by hand; nothing here loads them.
"""

import io
import pathlib
import pickle
import shutil
import struct
import zipfile
import zlib

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "unit" / "weights" / "data"
NO_SIZE = 2**32 - 1  # in zip: see the zip64 form
CORPUS = ROOT / "tests" / "fuzz" / "corpus" / "torch"


def ramp(count, dtype, first=-3):
    """first, first + 1, ...: what the C test expects without a second file."""
    return torch.arange(first, first + count).to(dtype)


def good_files(folder):
    """State dicts as models have them."""
    dtypes = {
        "f32": torch.float32,
        "f16": torch.float16,
        "bf16": torch.bfloat16,
        "f64": torch.float64,
        "i64": torch.int64,
        "i32": torch.int32,
        "i16": torch.int16,
        "i8": torch.int8,
    }
    state = {name: ramp(6, dtype).reshape(2, 3) for name, dtype in dtypes.items()}
    state["u8"] = ramp(4, torch.uint8, 0)
    state["bool"] = torch.tensor([True, False, True])
    state["scalar"] = torch.tensor(-3.0)
    state["empty"] = torch.zeros(0, 5)
    state["flat"] = ramp(3, torch.float32).reshape(1, 3, 1)
    torch.save(state, folder / "dtypes.bin")

    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        model[0].weight.copy_(ramp(6, torch.float32).reshape(2, 3))
    torch.save(model.state_dict(), folder / "module.bin")

    whole = ramp(12, torch.float32).reshape(4, 3)
    tied = torch.nn.Parameter(whole)
    views = {"whole": tied, "tied": tied, "rows": whole[1:3], "row": whole[3], "part": whole.flatten()[2:4]}
    torch.save(views, folder / "views.bin")
    keys = ["model.mm_projector.0.weight", "model.mm_projector.0.bias"]
    torch.save({keys[0]: ramp(6, torch.bfloat16).reshape(2, 3), keys[1]: ramp(2, torch.bfloat16)}, folder / "mm.bin")
    torch.save({}, folder / "nothing.bin")


def archive(path, entries, compress=False):
    """A zip archive of these entries, stored or compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as out:
        for name, data in entries.items():
            out.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED)


def archive64(path, entries):
    """The same with every size and offset in its zip64 form."""
    out, directory = io.BytesIO(), io.BytesIO()
    for name, data in entries.items():
        name, offset, check = name.encode(), out.tell(), zlib.crc32(data)
        # Sizes in a descriptor behind the data, as a stream writes them: the local header has none.
        out.write(struct.pack("<4s5H3I2H", b"PK\3\4", 45, 8, 0, 0, 0, 0, 0, 0, len(name), 0) + name + data)
        out.write(struct.pack("<4sI2Q", b"PK\7\x08", check, len(data), len(data)))
        extra = struct.pack("<2HI2H3Q", 0x6375, 4, 0, 1, 24, len(data), len(data), offset)
        head = (45, 45, 8, 0, 0, 0, check, NO_SIZE, NO_SIZE, len(name), len(extra), 0, 0, 0, 0, NO_SIZE)
        directory.write(struct.pack("<4s6H3I5H2I", b"PK\1\2", *head) + name + extra)
    start, listing = out.tell(), directory.getvalue()
    out.write(listing)
    end = out.tell()
    out.write(struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, len(entries), len(entries), len(listing), start))
    out.write(struct.pack("<4sIQI", b"PK\6\7", 0, end, 1))
    out.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, NO_SIZE, NO_SIZE, 0))
    path.write_bytes(out.getvalue())


def text(value):
    """BINUNICODE."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    """The shortest opcode of a number, LONG1 for large and negative ones."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    size = (value.bit_length() + 8) // 8
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def numbers(values):
    """A tuple of numbers."""
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(key="0", elements=6, kind="ctorch\nFloatStorage\n"):
    """A persistent id of a storage."""
    return b"(" + text("storage") + kind.encode() + text(key) + text("cpu") + number(elements) + b"tQ"


def tensor(size=(2, 3), stride=(3, 1), offset=0, place=None):
    """A call of _rebuild_tensor_v2."""
    place = storage() if place is None else place
    hooks = b"ccollections\nOrderedDict\n)R"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return call + place + number(offset) + numbers(size) + numbers(stride) + b"\x89" + hooks + b"tR"


def state(*items):
    """The pickle of {name: pickled value}."""
    return b"\x80\x02}(" + b"".join(text(name) + value for name, value in items) + b"u."


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile_pickles():
    """Name and pickle of what must be refused; the C test knows the words that the refusal must have."""
    system = pickle.dumps({"w": Call(__import__("os").system, "touch /tmp/owned")}, 2)
    return {
        "system": system,
        "eval": pickle.dumps({"w": Call(eval, "1")}, 2),
        "late": state(("w", tensor()), ("v", b"cbuiltins\nexec\n(" + text("1") + b"tR")),
        "attributes": state(("w", tensor() + b"}(" + text("x") + b"Nub")),
        "class-called": state(("w", b"ctorch\nFloatStorage\n)R")),
        "inst": b"\x80\x02(" + b"ios\nsystem\n.",
        "object": b"\x80\x02ctorch\nFloatStorage\n)\x81.",
        "protocol-4": pickle.dumps({"w": 1}, 4),
        "nested": b"\x80\x02}" + text("state_dict") + state(("w", tensor()))[2:-1] + b"s.",
        "number": state(("epoch", number(3))),
        "list": b"\x80\x02].",
        "tensor-alone": b"\x80\x02" + tensor() + b".",
        "key-is-number": b"\x80\x02}" + number(1) + tensor() + b"s.",
        "twice": state(("w", tensor()), ("w", tensor())),
        "transposed": state(("w", tensor((3, 2), (1, 3)))),
        "cut": state(("w", tensor((2, 2), (3, 1)))),
        "expanded": state(("w", tensor((2, 3), (0, 1)))),
        "negative-size": state(("w", tensor((-2, 3), (3, 1)))),
        "negative-offset": state(("w", tensor(offset=-1))),
        "offset": state(("w", tensor(offset=1))),
        "huge-offset": state(("w", tensor((1,), (1,), offset=2**62))),
        "overflow": state(("w", tensor((2**40, 2**40), (2**40, 1)))),
        "rank-9": state(("w", tensor((1,) * 9, (1,) * 9))),
        "ranks": state(("w", tensor((2, 3), (1,)))),
        "storage-lies": state(("w", tensor((2, 4), (4, 1), place=storage(elements=8)))),
        "storage-overflow": state(("w", tensor(place=storage(elements=2**62)))),
        "storage-missing": state(("w", tensor(place=storage("7")))),
        "storage-type": state(("w", tensor(place=storage(kind="ctorch\nQInt8Storage\n")))),
        "sparse": state(("w", b"ctorch._utils\n_rebuild_sparse_tensor\n)R")),
        "no-mark": b"\x80\x02}u.",
        "underflow": b"\x80\x02R.",
        "marks-left": b"\x80\x02}((.",
        "memo": b"\x80\x02h\x05.",
        "huge-memo": b"\x80\x02}r\xff\xff\xff\xff.",
        "no-stop": b"\x80\x02}",
        "long-text": b"\x80\x02X\xff\xff\xff\xff.",
        "long-name": b"\x80\x02c" + b"a" * 300,
        "invalid-name": b"\x80\x02}X\1\0\0\0\xff" + tensor() + b"s.",
        "empty": b"",
    }


def hostile_files(folder):
    """Archives around hostile pickles, and archives that are no such thing."""
    values = struct.pack("<6f", *range(-3, 3))
    for name, data in hostile_pickles().items():
        archive(folder / (name + ".bin"), {"a/data.pkl": data, "a/data/0": values})
    plain = {"a/data.pkl": state(("w", tensor())), "a/byteorder": b"little", "a/data/0": values}
    archive(folder / "big-endian.bin", plain | {"a/byteorder": b"big"})
    archive(folder / "compressed.bin", plain, True)
    archive(folder / "script.bin", plain | {"a/constants.pkl": b"\x80\x02)."})
    archive(folder / "no-pickle.bin", {"a/b": b"c"})
    archive64(folder.parent / "zip64.bin", plain)
    whole = (folder.parent / "zip64.bin").read_bytes()
    (folder / "truncated.bin").write_bytes(whole[:-60])
    (folder / "cut-off-front.bin").write_bytes(whole[:4] + whole[40:])
    # What torch.save wrote before 1.6 begins with a pickled magic number and a protocol version.
    (folder / "legacy.bin").write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2))


def corpus():
    """Seeds of the fuzz target: one file of each kind."""
    shutil.rmtree(CORPUS, ignore_errors=True)
    CORPUS.mkdir(parents=True)
    names = ["module.bin", "views.bin", "zip64.bin", "mm.bin"]
    names += ["hostile/%s.bin" % n for n in ("system", "transposed", "offset", "huge-memo", "nested", "storage-lies")]
    for name in names:
        shutil.copy(DATA / "torch" / name, CORPUS / pathlib.Path(name).name)
    for name in ("attributes", "huge-memo", "rank-9", "twice"):
        (CORPUS / (name + ".pkl")).write_bytes(hostile_pickles()[name])
    (CORPUS / "good.pkl").write_bytes(state(("w", tensor()), ("v", tensor((6,), (1,)))))


def main():
    """Writes everything anew."""
    folder = DATA / "torch"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "hostile").mkdir(parents=True)
    good_files(folder)
    hostile_files(folder / "hostile")
    corpus()


if __name__ == "__main__":
    main()
