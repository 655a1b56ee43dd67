"""A bigger classifier for real work: a random forest on handwritten digits of 8 by 8 pixels."""

from __future__ import annotations

from registry.examples import Example

_HELD_BACK = 0.25


def build() -> Example:
    """Fit the forest; each tree, and so each row's answer, is the same alone and in a batch."""
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    data = load_digits()
    fit_rows, test_rows, fit_digits, test_digits = train_test_split(
        data.data, data.target, test_size=_HELD_BACK, random_state=0, stratify=data.target
    )
    model = RandomForestClassifier(n_estimators=100, random_state=0).fit(fit_rows, fit_digits)
    return Example(
        name="digits_classifier",
        model=model,
        input_example=data.data[0].tolist(),
        rows=data.data.tolist(),
        runtime="sklearn",
        metadata={
            "data_set": "Optical recognition of handwritten digits, 1797 rows",
            "input": "64 pixels, row by row, each 0 (white) to 16 (black)",
            "test_accuracy": round(float(model.score(test_rows, test_digits)), 4),
        },
    )
