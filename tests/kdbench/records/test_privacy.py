"""What tells of an author's machine or accounts is found; what papers and docstrings say is not taken for it."""

from __future__ import annotations

import pytest

from kdbench.records.privacy import private, private_texts


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("weights in /home/ada/x.pt", "a path"),
        ("(/Users/ada)", "a path"),
        ("path=/scratch2/ada/run", "a path"),
        ("/data/cifar", "a path"),
        ("~/kd/x.py", "a path"),
        ("~ada/kd", "a path"),
        ("file:///srv/x", "a path"),
        (r"C:\Users\ada", "a path"),
        (r"D:\kd\x.py", "a path"),
        ("C:/Users/ada", "a path"),
        (r"\\server\share", "a path"),
        ("ada@example.org", "a user or host"),
        ("run by ada@gpu7", "a user or host"),
        ("user=ada", "a user or host"),
        ("Host: node12", "a user or host"),
        ("on gpu7.internal", "a user or host"),
        ("192.168.1.4", "a user or host"),
        ("https://ada:secret@github.com/x", "a user or host"),
        ("hf_abcdefghijklmnopqrstuvwxyz0123", "a token"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "a token"),
        ("AKIAIOSFODNN7EXAMPLE", "a token"),
        ("password=hunter2", "a token"),
        ("api_key: abc", "a token"),
    ],
)
def test_what_is_private_is_found(text: str, what: str) -> None:
    assert private(text) == what


@pytest.mark.parametrize(
    "text",
    [
        "L = CE(z_s, y) / T + KL(p_t || p_s)",
        "https://github.com/ada/kd/blob/main/home/run.py",
        "HobbitLong/RepDistiller, distiller_zoo/KD.py, commit b84f547",
        "Recall@K and Acc@1; a @ b; @torch.no_grad()",
        r"\\alpha \cdot x, a: \mathbb{R}",
        "the cls token: a vector; tokens = patches + 1",
        "and/or, 1/2, ~3 epochs, w/o a teacher, train/test",
        "AMD EPYC 7763 64-Core Processor",
        "2.6.0+cu124",
        "sk_weight = 1, host of methods",
    ],
)
def test_what_papers_say_is_not_private(text: str) -> None:
    assert private(text) is None


def test_keys_and_texts_within_tables_are_looked_at() -> None:
    value = {"a": {"b": ["x", "/home/ada/x"]}, "/tmp/y": 1}
    assert list(private_texts(value)) == [("a.b.1", "a path"), ("/tmp/y", "a path")]
