"""Slow, obvious twins in fractions."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from fractions import Fraction


def exact_tail(matches: int, trials: int, rate: Fraction = Fraction(1, 2)) -> Fraction:
    """P(X ≥ matches), term by term."""
    return sum(
        (
            math.comb(trials, j) * rate**j * (1 - rate) ** (trials - j)
            for j in range(matches, trials + 1)
        ),
        Fraction(0),
    )


def log_of(p: Fraction) -> float:
    return math.log(p.numerator) - math.log(p.denominator)


def present_rates(classes: int) -> list[Fraction]:
    """The prior "grid-20/v1" as SOUNDNESS.md writes it."""
    chance = Fraction(1, classes)
    return [chance + (Fraction(99, 100) - chance) * j / 20 for j in range(1, 21)]


def absent_rates(classes: int) -> list[Fraction]:
    """The prior "below-20/v1"."""
    chance = Fraction(1, classes)
    return [chance + (least_rate(classes) - chance) * j / 20 for j in range(20)]


def least_rate(classes: int) -> Fraction:
    return (1 + Fraction(1, classes)) / 2


def e_value(rates: list[Fraction], null: Fraction, matches: int, queries: int) -> Fraction:
    """The mean of likelihood ratios, in fractions."""
    misses = queries - matches
    ratios = [(q / null) ** matches * ((1 - q) / (1 - null)) ** misses for q in rates]
    return sum(ratios, Fraction(0)) / len(rates)


def log_e_value(rates: list[Fraction], null: Fraction, matches: int, queries: int) -> float:
    """Its logarithm with 60 digits, for counts whose fractions would fill the memory."""
    context = Context(prec=60, Emax=10**9, Emin=-(10**9))

    def power(base: Fraction, exponent: int) -> Decimal:
        quotient = context.divide(Decimal(base.numerator), Decimal(base.denominator))
        return context.power(quotient, exponent)

    total = Decimal(0)
    for q in rates:
        hit, miss = power(q / null, matches), power((1 - q) / (1 - null), queries - matches)
        total = context.add(total, context.multiply(hit, miss))
    return float(context.ln(context.divide(total, Decimal(len(rates)))))
