"""A classifier of breast tumours by three measurements, each scaled to 0..1 over the data set."""

from __future__ import annotations

from registry.examples import Example

#: Three informative columns of the data set with little correlation.
FEATURES = ("worst radius", "worst concave points", "worst texture")
_HELD_BACK = 0.25


def build() -> Example:
    """Fit gradient-boosted trees; a row's answer doesn't depend on the rows beside it."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import MinMaxScaler

    data = load_breast_cancer()
    columns = [list(data.feature_names).index(name) for name in FEATURES]
    rows = MinMaxScaler(clip=True).fit_transform(data.data[:, columns])
    labels = data.target_names[data.target].astype(object)
    fit_rows, test_rows, fit_labels, test_labels = train_test_split(
        rows, labels, test_size=_HELD_BACK, random_state=0, stratify=labels
    )
    model = GradientBoostingClassifier(n_estimators=60, max_depth=2, random_state=0).fit(fit_rows, fit_labels)
    return Example(
        name="binary_classifier",
        model=model,
        input_example=[0.5, 0.8, 0.2],
        rows=rows.tolist(),
        runtime="sklearn",
        runtime_options={"method": "predict_proba"},
        metadata={
            "data_set": "Breast cancer Wisconsin (diagnostic), 569 rows",
            "features": list(FEATURES),
            "feature_scale": "0..1 over the data set",
            "test_accuracy": round(float(model.score(test_rows, test_labels)), 4),
        },
    )
