"""Twenty kinds of fitted estimators of scikit-learn, with rows of real data sets and their right answers."""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import joblib
from sklearn import datasets
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier


@dataclass(frozen=True)
class Kind:
    """A fitted estimator, rows of its data set, and what it answers to them."""

    name: str
    artifact: bytes
    rows: list[list[float]]
    answers: list[Any]


def kinds() -> Iterator[Kind]:
    """Fit an estimator of each kind to data sets in turn."""
    estimators: list[BaseEstimator] = [
        LogisticRegression(max_iter=2_000), RidgeClassifier(), SGDClassifier(random_state=0), Perceptron(),
        GaussianNB(), BernoulliNB(), KNeighborsClassifier(), NearestCentroid(), SVC(random_state=0),
        LinearSVC(random_state=0), DecisionTreeClassifier(random_state=0), ExtraTreeClassifier(random_state=0),
        RandomForestClassifier(50, random_state=0), ExtraTreesClassifier(50, random_state=0),
        GradientBoostingClassifier(n_estimators=20, random_state=0), AdaBoostClassifier(random_state=0),
        MLPClassifier(max_iter=300, random_state=0), LinearDiscriminantAnalysis(),
        QuadraticDiscriminantAnalysis(reg_param=0.1),
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000)),
    ]  # fmt: skip
    loads = [datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer, datasets.load_digits]
    for number, (estimator, load) in enumerate(zip(estimators, itertools.cycle(loads), strict=False)):
        data = load()
        with warnings.catch_warnings(action="ignore"):  # some features of the digits are always the same
            estimator.fit(data.data, data.target)
        target = io.BytesIO()
        joblib.dump(estimator, target)
        some = data.data[:: max(1, len(data.data) // 40)]
        yield Kind(f"kind{number:02}", target.getvalue(), some.tolist(), estimator.predict(some).tolist())
