"""Prompts, ids, texts and arrays that do not fit a model.

SPDX-License-Identifier: Apache-2.0
"""

import struct

RUN = ("llq-run", "m.llq", "-n", "1")


def npy(shape, values=b"", kind="<f4", order="False", version=1):
    text = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + values


def check_prompts(t):
    """Text that is no text, too long, or nothing at all."""
    t.make_binary()
    t.refuse(*RUN, "--prompt-file=none.txt", names=["none.txt"])
    t.refuse(*RUN, "--prompt-file=tmp", names=["tmp"])
    t.refuse(*RUN, "--prompt=" + "a b " * 5000, names=["context"])
    t.write("long.txt", "The quick brown fox. " * 20000)
    t.refuse(*RUN, "--prompt-file=long.txt", names=["context"])
    t.refuse(*RUN, "--ids=" + "1," * 3000, names=["context"])
    bad = (b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok \x80 ok")
    for number, data in enumerate(bad):
        t.write("bad.txt", data)
        outcome = t.either(*RUN, "--prompt-file=bad.txt", "--json")
        t.run("llq-run", "m.llq", "-n", "1", b"--prompt=" + data)
        t.either(*RUN, "--chat", stdin=data + b"\n")
        t.either("llq-eval", "m.llq", "--perplexity=a=bad.txt", "--window=2")
        if outcome.accepted():
            outcome.output.decode()
    t.write("nul.txt", b"a\0b")
    t.accept(*RUN, "--prompt-file=nul.txt", "--json")
    # Nothing but what the tokenizer adds; or nothing at all.
    t.write("empty.txt", b"")
    t.accept(*RUN, "--prompt", "")
    t.accept(*RUN, "--prompt-file=empty.txt")
    t.refuse(*RUN, "--prompt", "", "--no-bos", status=2, names=["no tokens"])
    t.accept(*RUN, "--chat", stdin=b"")
    t.either(*RUN, "--chat", stdin=b"\n\n/reset\n/reset\n\0\n/exit\n")
    t.refuse(*RUN, "--chat", stdin=b"a b " * 5000 + b"\n", names=["context"])
    t.accept("llq-run", "m.llq", "-n", "0", "--ids=1", "--json")
    t.accept("llq-run", "m.llq", "-n", "4294967296", "--ids=1", "--ignore-eos")


def check_ids(t):
    """Files of ids, texts and arrays that llq-eval reads."""
    t.make_binary()
    base = ("llq-eval", "m.llq")
    ids = (
        "", "\n\n", "x", "1 2 x", "-1", "4096", "1;2", "99999999999999999999",
        "1 2\n3 4 5 9999", "1,2\0", "1 " * 3000,
    )  # fmt: skip
    for text in ids:
        t.write("bad.ids", text)
        for words in (["--logits=bad.ids", "-o", "out.npy"],
                      ["--perplexity=a=bad.ids", "--window=4"]):  # fmt: skip
            t.refuse(*base, *words, names=["bad.ids"]) if len(text) < 600 else t.either(
                *base, *words
            )
            t.remove("out.npy")
    t.refuse(*base, "--logits=none.ids", "-o", "out.npy", names=["none.ids"])
    t.refuse(*base, "--logits=tmp", "-o", "out.npy", names=["tmp"])
    t.refuse(*base, "--perplexity=a=none.txt", "--window=4", names=["none.txt"])
    t.refuse(*base, "--perplexity=a=tmp", "--window=4", names=["tmp"])
    t.write("empty.txt", "")
    t.refuse(*base, "--perplexity=a=empty.txt", "--window=4", names=["empty.txt"])

    t.write("good.ids", "1 2 3\n4 5\n")
    compare = [*base, "--logits=good.ids", "--reference=r.npy", "--json"]
    t.accept(*base, "--logits=good.ids", "-o", "r.npy")
    right = (t.folder / "r.npy").read_bytes()
    t.accept(*compare)
    arrays = [b"", b"\x93NUMPY", right[:9], right[:50], right[:-1], b"x" * 1000]
    arrays += [npy(shape, right[128:]) for shape in ("(5,)", "(5, 9)", "()", "(5, -1)")]
    arrays += [npy("(5, 4096)", right[128:], kind=k) for k in ("<f8", ">f4", "|O")]
    arrays += [npy("(5, 4096)", right[128:], order="True")]
    arrays += [npy("(5, 4096)", right[128:], version=9)]
    arrays += [b"\x93NUMPY\x02\x00\xff\xff\xff\xff", b"\x93NUMPY\x01\x00\xff\xff"]
    arrays += [b"\x93NUMPY\x01\x00" + struct.pack("<H", 60000) + b"'" * 60000]
    for data in arrays:
        t.write("r.npy", data)
        t.refuse(*compare, names=["r.npy"])
    t.write("r.npy", npy("(5, 4096)", right[128:], version=2))
    t.accept(*compare)
    t.refuse(*base, "--logits=good.ids", "--reference=none.npy", names=["none.npy"])
    t.refuse(*base, "--logits=good.ids", "--reference=tmp", names=["tmp"])
