"""The base of all pydantic models of the product."""

from pydantic import BaseModel, ConfigDict


class LazyModel(BaseModel):
    """A model that is built at its first use, because no call of a function uses all the models that it imports.

    Give a field that holds a model a ``default_factory``: an instance as its default would build the model at import.
    """

    model_config = ConfigDict(defer_build=True)
