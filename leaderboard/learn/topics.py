"""The pages of the place to learn, and where each topic of the field stands on them."""

from __future__ import annotations

from dataclasses import dataclass

LANGUAGES = {"en": "English", "zh-CN": "简体中文"}
PAGES = {  # by file: its title in each language
    "index": ("Learn distillation", "学习知识蒸馏"),
    "soft-targets": ("What a teacher knows", "教师知道什么"),
    "logits": ("From soft targets to logits", "从软目标到 logits"),
    "map": ("The map of the field", "领域地图"),
    "architectures": ("Teachers and students", "教师与学生的结构"),
    "comparison": ("Performance compared", "性能比较"),
    "compression": ("Model compression", "模型压缩"),
    "applications": ("Applications", "应用"),
    "questions": ("Open questions", "开放问题"),
}


@dataclass(frozen=True)
class Topic:
    """A topic of the field.

    Attributes:
        page, anchor: where it stands, in every language.
    """

    english: str
    chinese: str
    page: str
    anchor: str

    @property
    def names(self) -> dict[str, str]:
        return {"en": self.english, "zh-CN": self.chinese}


TOPICS = [
    Topic("Model compression", "模型压缩", "compression", "compression"),
    Topic("Three parts of a system", "系统的三个组成部分", "index", "parts"),
    Topic("Categories of knowledge: response, feature, relation", "知识的类别：响应、特征、关系", "map", "knowledge"),
    Topic("Schemes: offline, online, self", "方案：离线、在线、自蒸馏", "map", "schemes"),
    Topic("Families of algorithms", "算法家族", "map", "families"),
    Topic("Teacher-student architectures", "教师-学生结构", "architectures", "architectures"),
    Topic("The capacity gap", "容量差距", "architectures", "gap"),
    Topic("Logits and dark knowledge", "logits 与暗知识", "soft-targets", "dark-knowledge"),
    Topic("The cat, the dog and the car", "猫、狗和汽车的例子", "soft-targets", "cat-dog-car"),
    Topic("Hard and soft targets", "硬目标与软目标", "soft-targets", "hard-and-soft"),
    Topic("Temperature and its limits", "温度及其极限", "soft-targets", "temperature"),
    Topic("Both losses: soft and hard, and T²", "两个损失：软损失与硬损失，以及 T²", "logits", "losses"),
    Topic("The gradient and logit matching", "梯度与 logits 匹配", "logits", "gradient"),
    Topic("What each loss weight does", "各损失权重的作用", "logits", "weights"),
    Topic("Performance comparison", "性能比较", "comparison", "comparison"),
    Topic("Students that surpass their teachers", "超过教师的学生", "comparison", "surpass"),
    Topic("Applications", "应用", "applications", "applications"),
    Topic("Challenges and open questions", "挑战与开放问题", "questions", "questions"),
]


def path(page: str, language: str) -> str:
    """A page's address from the site's root."""
    return f"learn/{'' if language == 'en' else 'zh/'}{page}.html"


def title(page: str, language: str) -> str:
    return PAGES[page][list(LANGUAGES).index(language)]
