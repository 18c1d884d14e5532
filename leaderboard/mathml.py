"""Docstrings as a reader expects them: prose as paragraphs, the lines of equations as MathML. All of it escaped."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

EQUATION = re.compile(
    r"^\s*(?:[A-Z][\w \"'+-]{0,24}(?:\([^)]*\))?:\s+)?"
    r"(?:[A-Za-z]\w{0,5}\([^()=]{1,16}\)|[\w{}()\[\],.'|^+-]{1,24}(?: \([^)]*\))?)\s*(?:=|<-)\s"
)
GAME = re.compile(r"^\s*min_\w+ max_\w+\s")  # of two players, with nothing that it equals
LEAD = re.compile(r"^\s*(?P<lead>[A-Z][\w \"'+-]{0,24}(?:\([^)]*\))?:)\s+(?P<rest>.*)$", re.DOTALL)
OPERATORS = {
    "*": "⋅", "->": "→", "<-": "←", "<=": "≤", ">=": "≥", "!=": "≠", "||": "‖", "+-": "±", "...": "…", "-": "−",
    "~": "∼", ".": "⋅",
}  # fmt: skip
GREEK = {
    "alpha": "α", "beta": "β", "delta": "δ", "eps": "ε", "epsilon": "ε", "lambda": "λ", "mu": "μ", "pi": "π",
    "rho": "ρ", "sigma": "σ", "tau": "τ", "theta": "θ",
}  # fmt: skip
FUNCTIONS = frozenset({
    "log", "exp", "min", "max", "argmin", "argmax", "softmax", "sigmoid", "cos", "mean", "CE", "KL", "KD", "BCE", "H",
    "JS", "TV", "HCL", "huber", "hinge", "D",
})  # fmt: skip
WORD = (
    rf"(?:(?!(?:{'|'.join(sorted([*FUNCTIONS, *GREEK, 'sum']))})\b)[a-z]{{3,}}|as|at|by|in|is|of|on|or|to)"
    r"(?:'s)?(?![\w'(^])|`[^`]+`"
)
TOKEN = re.compile(  # words carry the spaces that part them from what is not an operator
    rf"(?P<words>(?:(?<=[\w)\]}}|>]) )?(?<![\w^])(?:{WORD})(?: (?:a )?(?:{WORD}))*(?: (?=[\w(\[<|]|-\w))?)"
    r"|(?P<space>\s+)|(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)|(?P<name>[A-Za-z][A-Za-z0-9]*'*)"
    r"|(?P<operator>->|<-|<=|>=|!=|\|\||\+-|\.\.\.|.)",
    re.DOTALL,
)
OPEN = {"(": ")", "[": "]", "{": "}"}
MOST = 2000  # characters of an equation; a longer one stays text


def described(docstring: str) -> Markup:
    """A docstring as markup."""
    return Markup("\n").join(block(part) for part in re.split(r"\n\s*\n", docstring.strip()) if part.strip())


def block(text: str) -> Markup:
    """A paragraph, in which lines of equations stand apart."""
    found: list[Markup] = []
    prose: list[str] = []
    for line in joined(text.split("\n")):
        if is_equation(line):
            if prose:
                found.append(paragraph(prose))
            formula, said = parted(line)
            found.append(equation(formula))
            prose = [said] if said else []
        else:
            prose.append(line)
    return Markup("\n").join([*found, *([paragraph(prose)] if prose else [])])


def joined(lines: list[str]) -> list[str]:
    """Lines, with those that carry an equation on (indented) put to what they carry on."""
    found: list[str] = []
    for line in lines:
        if found and line[:1] == " " and is_equation(found[-1]) and not is_equation(line):
            found[-1] += " " + line.strip()
        else:
            found.append(line)
    return found


def is_equation(line: str) -> bool:
    """Whether a line is an equation: something equals something, and few of its words are prose."""
    if not (EQUATION.match(line) or GAME.match(line)) or len(line) > MOST:
        return False
    lead = LEAD.match(line)
    words = re.findall(r"(?<![\w_])[a-z]{2,}(?![\w_(])", lead["rest"] if lead else line)
    return len([word for word in words if word not in FUNCTIONS and word not in GREEK and word != "sum"]) <= (
        9 if len(line) > 100 else 6
    )


def parted(line: str) -> tuple[str, str]:
    """An equation, and the prose that begins behind it on its line."""
    for end in re.finditer(r"(?<=\S)[.;]\s+(?=\S)", line):
        formula, rest = line[: end.start()], line[end.end() :]
        if not EQUATION.match(rest) and all(formula.count(a) == formula.count(b) for a, b in OPEN.items()):
            return formula, rest
    return line, ""


def paragraph(lines: list[str]) -> Markup:
    """Prose, with what stands in backticks as code, and between asterisks as emphasis."""
    parts = re.split(r"`([^`]+)`|(?<!\S)\*(\w+(?: \w+)*)\*(?!\w)", " ".join(line.strip() for line in lines))
    found = [escape(parts[0])]
    for code, emphasis, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found += [Markup("<code>%s</code>") % code if code else Markup("<em>%s</em>") % emphasis, escape(text)]
    return Markup("<p>%s</p>") % Markup("").join(found)


def equation(line: str) -> Markup:
    """A line as MathML, after the words that say when it holds."""
    lead = LEAD.match(line)
    head = Markup('<span class="lead-in">%s</span> ') % lead["lead"] if lead else Markup("")
    text = re.sub(r"(?<!\.)[.;]$", "", (lead["rest"] if lead else line).strip())
    inner = Reader(text).sequence("")
    return Markup('<div class="equation" tabindex="0">%s<math display="inline">%s</math></div>') % (head, inner)


class Reader:
    """Reads an equation from left to right."""

    def __init__(self, text: str) -> None:
        self.tokens = [(match.lastgroup or "", match.group()) for match in TOKEN.finditer(text)]
        self.at = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def sequence(self, until: str, depth: int = 0) -> Markup:
        """What comes until a closing bracket, which is left."""
        found: list[Markup] = []
        while self.peek()[0] != "end" and not (until and self.peek()[1] == until):
            kind, text = self.peek()
            if kind == "space":
                self.at += 1
                if len(text) > 2:
                    found.append(Markup('<mspace width="1.5em"></mspace>'))
                continue
            found.append(self.scripted(depth))
        return Markup("<mrow>%s</mrow>") % Markup("").join(found)

    def scripted(self, depth: int) -> Markup:
        """One thing with what stands below and above it."""
        base = self.atom(depth)
        scripts: dict[str, Markup] = {}
        while self.peek()[1] in ("_", "^") and self.peek()[1] not in scripts:
            script = self.peek()[1]
            self.at += 1
            scripts[script] = self.script(depth)
        if len(scripts) == 2:
            return Markup("<msubsup>%s%s%s</msubsup>") % (base, scripts["_"], scripts["^"])
        if "_" in scripts:
            return Markup("<msub>%s%s</msub>") % (base, scripts["_"])
        return Markup("<msup>%s%s</msup>") % (base, scripts["^"]) if scripts else base

    def script(self, depth: int) -> Markup:
        """What stands in a script: a group without its braces, or one thing."""
        if self.peek()[1] == "{":
            self.at += 1
            inner = self.sequence("}", depth + 1)
            self.at += 1
            return inner
        if self.peek()[0] in ("end", "space"):
            return Markup("<mrow></mrow>")
        return self.atom(depth)

    def atom(self, depth: int) -> Markup:
        """A number, a name, a bracket with what is in it, an operator."""
        kind, text = self.peek()
        self.at += 1
        if kind == "number":
            return Markup("<mn>%s</mn>") % text
        if kind == "words":
            return Markup("<mtext>%s</mtext>") % re.sub(r"^ | $", "\N{NO-BREAK SPACE}", text.replace("`", ""))
        if kind == "name":
            return self.name(text)
        if text in OPEN and depth < 20:
            inner = self.sequence(OPEN[text], depth + 1)
            closed = self.peek()[1]
            self.at += 1
            return Markup("<mrow><mo>%s</mo>%s<mo>%s</mo></mrow>") % (text, inner, closed)
        return Markup("<mo>%s</mo>") % OPERATORS.get(text, text)

    def name(self, text: str) -> Markup:
        """A variable, a function, or a parameter's name of several words, which has no script."""
        while is_parameter(text) and self.peek()[1] == "_" and self.tokens[self.at + 1 : self.at + 2]:
            kind, following = self.tokens[self.at + 1]
            if kind != "name":
                break
            text += "_" + following
            self.at += 2
        if text == "sum":
            return Markup("<mo>∑</mo>")
        if text in GREEK:
            return Markup("<mi>%s</mi>") % GREEK[text]
        if text in FUNCTIONS or len(text.rstrip("'")) <= 2:
            return Markup("<mi>%s</mi>") % text.replace("'", "′")
        return Markup("<mtext>%s</mtext>") % text


def is_parameter(text: str) -> bool:
    """Whether a name begins that of a parameter, 'ce_weight', and not a variable with an index."""
    return text in ("ce", "kd") or (len(text) > 2 and text not in FUNCTIONS and text not in GREEK and text != "sum")
