"""What the metrics of all cards are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Rate", "Record"]

Rate = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """A frozen record of finite numbers without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
