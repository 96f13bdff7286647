"""JupyterLab strips outputs when it saves a notebook: executed copies come from `make reproduce` alone."""

from nbformat import from_dict
from nbstripout import strip_output


def strip_on_save(model, **kwargs):
    if model["type"] == "notebook":
        notebook = strip_output(from_dict(model["content"]), keep_output=False, keep_count=False, keep_id=True)
        model["content"] = notebook


c.FileContentsManager.pre_save_hook = strip_on_save  # noqa: F821 (Jupyter provides c)
