"""A plain callable on one number: the width of an iris petal by its length, as a parabola."""

from __future__ import annotations

from dataclasses import dataclass

from registry.examples import Example

_LENGTH, _WIDTH = 2, 3
#: Rounded, so that every machine's linear algebra comes to the same model.
_DECIMALS = 6


@dataclass(frozen=True)
class Quadratic:
    """a·x² + b·x + c."""

    a: float
    b: float
    c: float

    def __call__(self, x: float) -> float:
        """Return the value at x."""
        return (self.a * x + self.b) * x + self.c


def build() -> Example:
    """Fit the parabola to the 150 flowers by least squares."""
    import numpy as np
    from sklearn.datasets import load_iris

    flowers = load_iris().data
    lengths_cm, widths_cm = flowers[:, _LENGTH], flowers[:, _WIDTH]
    a, b, c = (round(float(each), _DECIMALS) for each in np.polyfit(lengths_cm, widths_cm, deg=2))
    model = Quadratic(a, b, c)
    errors_cm = [model(length) - width for length, width in zip(lengths_cm.tolist(), widths_cm.tolist(), strict=True)]
    return Example(
        name="quadratic_predictor",
        model=model,
        input_example=2.5,
        rows=lengths_cm.tolist(),
        runtime="python",
        metadata={
            "data_set": "Iris, 150 rows",
            "input": "petal length in cm",
            "output": "petal width in cm",
            "mean_absolute_error_cm": round(sum(map(abs, errors_cm)) / len(errors_cm), 4),
        },
    )
