"""CRD together with KD (Tian et al. 2020)."""

from __future__ import annotations

from kdbench import Field
from kdbench_methods.crd import CRD


class CRDKD(CRD):
    """Contrastive representation distillation beside plain KD: the paper's best row.

    L = CE(z_s, y) + T^2 * KL(softmax(z_t / T) || softmax(z_s / T)) + contrast_weight * the contrastive loss of `crd`

    As the authors' code (HobbitLong/RepDistiller, scripts/run_cifar_distill.sh, commit b84f547: -r 1 -a 1 -b 0.8).
    """

    name, version = "crd_kd", 1
    knowledge = ("response", "relation")  # type: ignore[assignment]  # mypy takes the length of crd's for its type

    class Params(CRD.Params):
        kd_weight: float = Field(1.0, ge=0, description="weight of the softened teacher's logits")
