"""Parse tokens into a tree. The grammar, where "beside" is a product without a sign, as in 3(4+5) and 2 pi:

    sum     = product { ("+" | "-") product }                        a bare percentage is added to nothing but 1
    product = beside { ("*" | "/" | "//" | "%" | mod | of) beside }  from left to right
    beside  = signed { power }                                       never after / or % and never behind ^ or a bare root
    signed  = { "+" | "-" } power ;   power = postfix [ "^" signed ]  so -2^2 is -4 and 2^3^2 is 2^9
    postfix = operand { "!" | "%" | "°" | exponent } ;   operand = number | pi | e | f(sum, ...) | (sum) | √ operand

% is the remainder before a number and a percentage elsewhere; before a sign spaces must tell: "10 % -3", "10% - 3".
Expressions that two calculators read differently, such as 1/2(3) and 100 + 10%, are refused with a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from jielong.errors import DataError, did_you_mean
from jielong.use.arithmetic.literals import is_scaled
from jielong.use.arithmetic.saying import ROOTS, check_said, mod_is_unclear, power_is_unclear
from jielong.use.arithmetic.tokens import UNDERSTOOD, Arities, Token, tokens
from jielong.use.arithmetic.tree import (
    Binary,
    Call,
    Constant,
    Group,
    Literal,
    Negative,
    Node,
    Percent,
    is_bare,
    is_share,
    unsigned,
)

MAX_DEPTH = 50
CONSTANTS = {"pi": "pi", "π": "pi", "e": "e"}
ANGLES = ("sin", "cos", "tan")
WRAPPERS = ("calculator", "calculate")  # names of the tool itself, around the expression


def parse(text: str, arities: Arities) -> Node:
    """Parse an expression into a tree. Raises DataError if it is none, or can be read in two ways."""
    return _Parser(text, arities).whole()


class _Parser:
    """A recursive descent parser over tokens, with a method for each rule of the grammar above."""

    def __init__(self, text: str, arities: Arities) -> None:
        self.text, self.arities = text, arities
        self.tokens = tokens(text, arities)
        check_said(self.tokens)
        self.names = {*arities, *CONSTANTS}
        self.at = self.depth = self.angles = 0

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    @property
    def after_next(self) -> Token:
        return self.tokens[min(self.at + 1, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.next
        self.at += token.kind != "end"
        return token

    def took(self, *kinds: str) -> bool:
        """Take the next token if it is of one of these kinds; return whether it was."""
        return self.next.kind in kinds and bool(self.take())

    @contextmanager
    def deeper(self) -> Iterator[None]:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise DataError(f"the expression is nested more than {MAX_DEPTH} deep; write a simpler one")
        yield
        self.depth -= 1

    def whole(self) -> Node:
        """Parse a whole expression, with a sign of equality or a question mark around it."""
        self.took("=")
        node = self.sum()
        while self.took("stop", "?"):
            pass
        if self.took("="):
            while self.took("=", "stop", "?"):
                pass
            if self.next.kind != "end":
                raise DataError("the expression is an equation; give one side of it")
        if self.next.kind != "end":
            raise self.wrong()
        return node

    def sum(self) -> Node:
        """Parse a sum of products; refuse percentages whose base is unclear."""
        left = self.product()
        while self.next.kind in ("+", "-"):
            sign = self.take()
            right = self.product()
            if isinstance(unsigned(right), Percent) and left != Literal(Fraction(1)):
                raise DataError(
                    f"a percentage behind {sign.text!r} can be a share of the number before it, or of 1; "
                    "write 100 * (1 + 10%) or 100 + (10%)"
                )
            if any(isinstance(n, Binary) and n.sign == "mod" for n in (left, right)):
                raise mod_is_unclear()
            left = Binary(sign.kind, left, right)
        return left

    def product(self) -> Node:
        left = self.beside("")
        while sign := self.sign_of_product():
            taken = self.take()
            if sign == "of" and not is_share(left):
                raise DataError(f"{taken.text!r} stands behind a percentage or a fraction alone, as in 15% of 80")
            right = self.beside(sign)
            if isinstance(left, Binary) and left.sign != "^" and not left.is_closed and "mod" in (sign, left.sign):
                raise mod_is_unclear()
            if sign == "%" and isinstance(right, Percent):
                raise DataError("a remainder by a percentage is read in two ways; write brackets, as in 9 % (4%)")
            left = Binary("*" if sign == "of" else sign, left, right)
        return left

    def sign_of_product(self) -> str:
        """Return the operation that the next token stands for here, or "" if it stands for none."""
        kind = self.next.kind
        if kind == "x":
            after = self.after_next
            is_apart = self.next.is_spaced and after.is_spaced and after.text.lower() in self.names
            return "*" if after.kind in ("number", "(", "√") or is_apart else ""
        return kind if kind in ("*", "/", "//", "%", "mod", "of") else ""

    def beside(self, before: str) -> Node:
        """Parse factors side by side; `before` is the operation that stands before them."""
        left = self.signed()
        while self.next.kind in ("number", "(", *ROOTS, "百分之", "千分之") or self.is_known_name(self.next):
            if not self.may_stand_beside(left):
                raise self.wrong()
            if before in ("/", "//", "%", "mod"):
                raise DataError(
                    "a product without a sign behind a division is read in two ways, as in 1/2(3); write brackets or *"
                )
            begin = self.at
            right = self.power()
            if right == Constant("e") and self.next.kind in ("+", "-") and not self.next.is_spaced:
                raise DataError("'e' before a sign can be a number or an exponent; write 5*e - 3 or 5e-3")
            if self.is_said(begin, right):
                raise power_is_unclear()
            left = Binary("*", left, right, is_closed=True)
        return left

    def is_known_name(self, token: Token) -> bool:
        return token.kind == "name" and token.text.lower() in self.names

    def may_stand_beside(self, left: Node) -> bool:
        """Whether the next factor may follow without a sign, if that is read in one way."""
        if self.next.kind in ROOTS and self.tokens[self.at - 1].kind == "power":
            return False  # in 2³√8 the ³ may belong to either
        left = unsigned(left)
        while isinstance(left, Binary) and left.sign == "*" and left.is_closed:
            left = left.right
        is_open = isinstance(left, Percent) or (isinstance(left, Binary) and left.sign == "^" and not left.is_closed)
        if is_open or is_bare(left) or self.next.kind in ("number", "百分之", "千分之"):
            return False
        return not (isinstance(left, Constant) and self.next.kind == "(")

    # --- signs, powers and what stands behind a number

    def signed(self) -> Node:
        begin, is_negative = self.at, False
        while self.next.kind in ("+", "-", "negative"):
            is_negative ^= self.take().kind != "+"
        is_signed, begin = self.at > begin, self.at
        node = self.power()
        if is_signed and self.is_said(begin, node):
            raise power_is_unclear()
        return Negative(node) if is_negative else node

    def is_said(self, begin: int, node: Node) -> bool:
        """Whether a power, a root or a share was put in words since `begin`: 负三的平方 is (-3)^2 to most, but not to all."""
        said = (t.kind == "的" or (t.is_word and t.kind in ("power", "^")) for t in self.tokens[begin : self.at])
        return not isinstance(node, Group) and any(said)

    def power(self) -> Node:
        base = self.postfix()
        if self.next.kind != "^":
            return base
        self.take()
        begin = self.at
        with self.deeper():
            exponent = self.signed()
        if (
            isinstance(base, Percent | Binary)
            or isinstance(unsigned(exponent), Percent)
            or self.is_said(begin, exponent)
        ):
            raise power_is_unclear()
        return Binary("^", base, exponent)

    def postfix(self) -> Node:
        """Parse an operand and the signs behind it: !, %, °, exponents."""
        node = self.operand()
        while True:
            kind = self.next.kind
            is_factorial = kind in ("!", "阶乘") or (kind == "name" and self.next.text.lower() == "factorial")
            is_percent = kind in ("percent", "‰") or (kind == "%" and self.is_percentage())
            if is_factorial and self.after_next.kind == "(":
                return node
            if (is_factorial or is_percent) and is_bare(node, "sqrt", "cbrt"):
                raise DataError(f"{self.next.text!r} behind a root is read in two ways; write brackets, as in (√16)!")
            if is_factorial:
                if is_bare(node, "factorial") or isinstance(node, Binary):
                    raise DataError(
                        f"{self.next.text!r} is read in two ways there; write brackets, as in (5!)! or (5²)!"
                    )
                self.take()
                node = Call("factorial", (node,), is_bare=True)
            elif is_percent:
                return Percent(Binary("/", node, Literal(Fraction(10))) if self.take().kind == "‰" else node)
            elif kind == "power":
                if isinstance(node, Binary):
                    raise power_is_unclear()
                node = Binary("^", node, Literal(self.take().value), is_closed=True)
            elif kind == "°":
                return self.degrees(node)
            elif kind == "的":
                node = self.belonging(node)
            else:
                return node

    def degrees(self, node: Node) -> Node:
        """Parse degrees, which are only read within sin, cos and tan."""
        if not self.angles:
            raise DataError("degrees are read within sin, cos and tan alone, as in sin(90°)")
        self.take()
        return Group(Binary("/", Binary("*", node, Constant("pi")), Literal(Fraction(180))))

    def is_percentage(self) -> bool:
        """Whether the next % is a percentage: not before a number, and before a sign if spaces say so."""
        is_attached, after = not self.next.is_spaced, self.after_next
        if after.kind in ("+", "-") and not after.is_word:
            behind = self.tokens[min(self.at + 2, len(self.tokens) - 1)]
            if is_attached and after.is_spaced and behind.is_spaced:
                return True
            if not is_attached and after.is_spaced and not behind.is_spaced:
                return False
            raise DataError(
                f"'%{after.text}' can be a percentage or a remainder; write (10%) {after.text} 3 or 10 % ({after.text}3)"
            )
        if self.is_known_name(after) or after.kind in ("number", "(", *ROOTS, "negative"):
            if is_attached and after.is_spaced:
                raise DataError("'%' can be a percentage or a remainder there; write 15% of 80 or 17 mod 5")
            return False
        if after.kind == "%":
            raise self.wrong()
        return True

    def belonging(self, node: Node) -> Node:
        """Parse Chinese 的: 3的平方, 2的3次方, 16的平方根, 5的阶乘, 80的15%."""
        self.take()
        if isinstance(node, Binary | Percent) or is_bare(node):
            raise power_is_unclear()
        if self.next.kind == "阶乘" or (self.next.kind == "power" and self.next.is_word):
            return node
        if self.next.kind in ("平方根", "立方根"):
            return Call("sqrt" if self.take().kind == "平方根" else "cbrt", (node,))
        if self.next.kind not in ("number", "百分之", "千分之"):
            raise self.wrong()
        inner = self.operand()
        if self.took("次方"):
            return Binary("^", node, inner, is_closed=True)
        if self.next.kind == "percent" or (self.next.kind == "%" and self.is_percentage()):
            self.take()
            inner = Percent(inner)
        if not is_share(inner):
            raise self.wrong()
        return Binary("*", node, inner, is_closed=True)

    # --- operands

    def operand(self) -> Node:
        token = self.next
        if token.kind == "number":
            return self.number()
        if token.kind in ("百分之", "千分之"):
            self.take()
            if self.next.kind != "number":
                raise self.wrong()
            return Percent(Literal(self.take().value / (1 if token.kind == "百分之" else 10)))
        if token.kind == "(":
            return Group(self.bracketed()[0])
        if token.kind in ROOTS:
            return self.root()
        if token.kind in ("name", "mod"):
            return self.named()
        raise self.wrong()

    def number(self) -> Node:
        """Parse a number, or a Chinese fraction of two."""
        if self.at and self.tokens[self.at - 1].kind in ("/", "//", "^", "%", "mod") and is_scaled(self.next.text):
            if not is_scaled(self.tokens[self.at - 2].text):
                raise DataError(
                    f"{self.next.text!r} behind a division or power is read in two ways; write it in digits"
                )
        value = self.take().value
        if not self.took("分之"):
            return Literal(value)
        if self.next.kind != "number":
            raise self.wrong()
        if value == 0:
            raise DataError("division by zero")
        return Literal(self.take().value / value)

    def root(self) -> Node:
        sign = self.take()
        if self.next.kind in ("+", "-", "negative"):
            raise DataError(f"{sign.text!r} before a sign; write √(-4) for the root of a negative number")
        with self.deeper():
            inner = self.operand()
        node = Call("cbrt" if sign.kind == "cbrt" else "sqrt", (inner,), is_bare=True)
        return Call("sqrt", (node,), is_bare=True) if sign.kind == "root4" else node

    def named(self) -> Node:
        """Parse a constant, or a function with its arguments."""
        token = self.take()
        name = token.text.lower()
        if name in CONSTANTS and token.text != "E":
            return Constant(CONSTANTS[name])
        if name in WRAPPERS and self.next.kind == "(":
            return Group(self.bracketed()[0])
        if name not in self.arities:
            self.at -= 1
            raise self.wrong()
        least, most = self.arities[name]
        self.angles += name in ANGLES
        if self.next.kind == "(":
            arguments = self.bracketed(most, may_be_empty=True)
        elif least == 1 and (self.next.kind == "number" or self.next.text.lower() in CONSTANTS):
            arguments = (self.alone(name),)
        elif self.next.kind == "power":
            raise DataError(f"{token.text}{self.next.text} is read in two ways; write {name}(x)^2")
        else:
            raise DataError(f"{name} is a function; write its numbers in brackets: {name}(2)")
        self.angles -= name in ANGLES
        if not least <= len(arguments) <= most:
            more = "" if least == most else " or more" if most > 2 else f" or {most}"
            raise DataError(f"{name} takes {least}{more} {'number' if most == 1 else 'numbers'}; got {len(arguments)}")
        return Call(name, arguments)

    def alone(self, name: str) -> Node:
        """Parse the number behind a function without brackets, if nothing follows that might belong to it."""
        node = self.operand()
        if self.next.kind == "°":
            node = self.degrees(node)
        if self.next.kind not in ("+", "-", ")", ",", "=", "stop", "?", "end"):
            raise DataError(f"{name} without brackets is read in two ways there; write {name}(2)")
        return node

    def bracketed(self, most: int = 1, *, may_be_empty: bool = False) -> tuple[Node, ...]:
        """Parse the sums between brackets; `most` above 1 allows commas."""
        self.take()
        if may_be_empty and self.took(")"):
            return ()
        with self.deeper():
            inner = [self.sum()]
            while (most > 1 or may_be_empty) and self.took(","):
                inner.append(self.sum())
            if not self.took(")"):
                raise self.wrong()
        return tuple(inner)

    def wrong(self) -> DataError:
        token, before = self.next, self.tokens[self.at - 1] if self.at else None
        if token.kind in ("name", "x"):
            name = token.text
            if before and before.kind in ("number", "power", "°"):
                return DataError(
                    f"{name!r} stands behind a number; units and names are not computed with, write numbers alone"
                )
            if name.lower() in self.names:
                return DataError(f"{name!r} stands where no function or constant can; write a sign such as * before it")
            return DataError(f"unknown name {name!r}; {did_you_mean(name, self.names)}")
        if token.kind == "number" and before and before.kind not in ("+", "-", "*", "/", "("):
            return DataError(f"{token.text!r} stands right behind {before.text!r}; write a sign such as * between them")
        if (token.kind == "stop" and token.text == ".") or (token.kind in ("?", "=") and before):
            return DataError(f"{token.text!r} stands within the expression; {UNDERSTOOD}")
        if token.kind == "除":
            return DataError("除 alone is read in two ways; write 除以")
        if token.kind == ",":
            return DataError("a comma outside of a call; write decimals with a point: 1234.5")
        return DataError(f"{self.text!r} is no expression; write it like (12 + 3.5) * 7 / 2")
