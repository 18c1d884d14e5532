"""The main weights of `digits`, for which no paper has one: PYTHONPATH=. python benchmarks/digits_weights.py OUT.toml

Each method has the same small budget: eight trials of its main weight, powers of two from 1/32 to 4 times the published
weight, beside the suite's own setting; the first seed of every pair, on validation images. The best mean over the pairs
goes into kdbench/suites/digits.toml by hand. Data-free methods keep their weights, and those that cannot serve every
pair have what was best on two seeds of the first. A search that was cut off goes on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

LOWEST, HIGHEST, TRIALS = 1 / 32, 4, 8
# A method's parameter and its published weight. There are a sixteenth of the positions (8 x 8, not 32 x 32): times 16
# where it weighs a sum over them, over 16 where squares of unit vectors over them, over 4 where differences of these
# (`ft`). As they are: `ab`'s, which has nothing beside it, and `afd`'s, whose sum has fewer terms too.
PUBLISHED = {
    "ab": ("boundary_weight", 0.003),
    "aekd": ("kd_weight", 0.9),
    "afd": ("attention_weight", 200),
    "anc": ("logits_weight", 1),
    "at": ("attention_weight", 62.5),
    "avg_teachers": ("kd_weight", 0.9),
    "ban": ("kd_weight", 1),
    "byot": ("head_kd_weight", 0.1),
    "ca_mkd": ("kd_weight", 1),
    "catkd": ("map_weight", 15),
    "cc": ("correlation_weight", 0.02),
    "crd": ("contrast_weight", 0.8),
    "crd_kd": ("contrast_weight", 0.8),
    "crld": ("within_weight", 2),
    "cskd": ("class_weight", 1),
    "ctkd": ("kd_weight", 0.9),
    "ctkd_collaborative": ("attention_weight", 62.5),
    "dcm": ("mutual_weight", 1),
    "ddgsd": ("view_weight", 1),
    "dgkd": ("kd_weight", 0.9),
    "dist": ("inter_weight", 2),
    "dkd": ("non_target_weight", 8),
    "dlb": ("last_weight", 0.5),
    "dml": ("kd_weight", 1),
    "dml_mixed": ("kd_weight", 1),
    "dot": ("kd_weight", 0.9),
    "fcfd": ("map_weight", 5),
    "fitnets": ("hint_weight", 100),
    "fn": ("normalised_weight", 9),
    "ft": ("factor_weight", 50),
    "ickd": ("correlation_weight", 2.5),
    "irg": ("graph_weight", 0.005),
    "jointrd": ("joint_weight", 0.25),
    "kd": ("kd_weight", 0.9),
    "kd_ce": ("kd_weight", 1),
    "kd_ls": ("kd_weight", 9),
    "kdcl": ("kd_weight", 1),
    "kdpp": ("direction_weight", 2),
    "logits_mse": ("logits_weight", 1),
    "manifold_kd": ("patch_weight", 4),
    "meal": ("similarity_weight", 1),
    "mgd": ("map_weight", 0.016),
    "mlld": ("kd_weight", 0.9),
    "nkd": ("non_target_weight", 3.5),
    "norm_kd": ("kd_weight", 0.9),
    "nst": ("selectivity_weight", 50),
    "ofa": ("head_weight", 1),
    "ofd": ("map_weight", 0.016),
    "okddip": ("kd_weight", 1),
    "one": ("kd_weight", 1),
    "pad_l2": ("pad_weight", 1),
    "pcl": ("kd_weight", 1),
    "pkt": ("neighbour_weight", 30000),
    "quantized_kd": ("kd_weight", 0.7),
    "reviewkd": ("review_weight", 5),
    "rkd": ("distance_weight", 25),
    "rocket": ("hint_weight", 0.03),
    "sdd": ("kd_weight", 0.9),
    "semckd": ("map_weight", 100),
    "simkd": ("map_weight", 1),
    "snapshot": ("kd_weight", 1),
    "sp": ("similarity_weight", 3000),
    "srrl": ("embedding_weight", 1),
    "sskd": ("rotated_weight", 2.7),
    "takd": ("kd_weight", 0.9),
    "tfkd_reg": ("teacher_weight", 0.1),
    "tfkd_self": ("kd_weight", 0.475),
    "tofd": ("kd_weight", 1),
    "vid": ("information_weight", 1),
    "wsld": ("kd_weight", 2.5),
    "wttm": ("match_weight", 4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("out", help="the suite's file with what was chosen, OUT.toml")
    out = parser.parse_args().out
    spaces = [
        f"--space={method}.{parameter}=log:{weight * LOWEST:g}..{weight * HIGHEST:g}"
        for method, (parameter, weight) in PUBLISHED.items()
    ]
    search = ["--trials", str(TRIALS), "--sampler", "grid", "--seeds", "1", "--out", out]
    command = [sys.executable, "-m", "kdbench", "tune", *PUBLISHED, *spaces, *search, "--no-mlflow"]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
