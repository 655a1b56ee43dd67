"""A runtime of MLServer for a plain function of one number; only MLServer loads this module."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from mlserver.utils import get_model_uri


class Function(MLModel):  # type: ignore[misc]
    """Calls a pickled function with each number."""

    async def load(self) -> bool:
        """Read the pickle."""
        self._function: Any = pickle.loads(Path(await get_model_uri(self.settings)).read_bytes())
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return a number for each number of the only input."""
        outputs = [self._function(each) for each in payload.inputs[0].data.root]
        output = ResponseOutput(name="predict", shape=[len(outputs), 1], datatype="FP64", data=outputs)
        return InferenceResponse(model_name=self.name, outputs=[output])
