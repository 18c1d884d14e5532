"""How kdbench and the survey are cited, as BibTeX."""

KDBENCH = """@misc{kdbench,
  title = {{kdbench}: the benchmark for knowledge distillation},
  author = {{The kdbench contributors}},
  year = {2026},
  note = {Methods as plugins, one protocol, numbers that anyone can recompute}
}
"""
SURVEY = """@article{gou2021knowledge,
  title = {Knowledge Distillation: A Survey},
  author = {Gou, Jianping and Yu, Baosheng and Maybank, Stephen J. and Tao, Dacheng},
  journal = {International Journal of Computer Vision},
  volume = {129},
  pages = {1789--1819},
  year = {2021},
  eprint = {2006.05525},
  archivePrefix = {arXiv}
}
"""
ENTRIES = [SURVEY, KDBENCH]
