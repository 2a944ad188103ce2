"""Write a model as a plug-in of SlicerModalityConverter: its network, the class that runs it, its entry in the list.

Follows the guide "How to Integrate a Custom Model" of SlicerModalityConverter (README, June 2026, commit e67d217): a
class with ``@register_model(key)`` in a module of its name, an entry in ``metadata.json``, a model file whose name
begins with the key. What an MR needs before and after the network is in the class's module, beside the graph.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from creps.errors import OutputExistsError, SettingsError
from creps.export import export
from creps.io.atomic import atomic_folder, write_json
from creps.io.outputs import check_new
from creps.model import Model
from creps.provenance import NOTICE
from creps.settings import PreparationSettings

__all__ = ["Plugin", "plugin_key", "write_plugin"]

HERE = Path(__file__).parent

ENTRY, INSTALLER = "metadata_entry.json", "install.py"


@dataclass(frozen=True)
class Plugin:
    """A written plug-in.

    Attributes:
        path: Its folder.
        key: By which SlicerModalityConverter knows it.
        difference_hu: The largest difference between PyTorch and ONNX Runtime on random MRs.
    """

    path: Path
    key: str
    difference_hu: float


def plugin_key(model: Model) -> str:
    """By which SlicerModalityConverter knows a model: region and weights."""
    return f"creps_{model.plan.preparation.region}_{re.sub(r'[^0-9a-z]', '', model.plan.weights_sha256)[:8]}"


def write_plugin(model: Model, folder: Path | str, *, overwrite: bool = False) -> Plugin:
    """Write ``KEY.onnx``, the module of its class, ``metadata_entry.json`` and ``install.py`` into a new folder.

    Args:
        model: The model.
        folder: The folder to make.
        overwrite: Replace a plug-in that is there.

    Raises:
        OutputExistsError: something is there and may not be replaced.
        SettingsError: the model prepares MRs in a way that the plug-in cannot, or a package of the extra ``export`` is
            missing.
        ModelError: ONNX Runtime's predictions differ from PyTorch's.
    """
    folder = Path(folder)
    _check_preparation(model.plan.preparation, model.plan.inference.extent)
    check_new(folder, "Pass overwrite=True, or name another folder.", overwrite=overwrite)
    if folder.exists() and not (folder / ENTRY).is_file():
        raise OutputExistsError(f"{folder} contains something other than a plug-in.", "Name a new folder.")
    key = plugin_key(model)
    module = "".join(part.capitalize() for part in key.split("_")) + "Model"
    region = model.plan.preparation.region
    title = f"[T1w MRI-to-CT] [{region.capitalize()}] creps {model.plan.weights_sha256[:8]}"
    with atomic_folder(folder) as building:
        exported = export(model, building / f"{key}.onnx")
        source = (HERE / "standalone.py").read_text(encoding="utf-8")
        known = {"@KEY@": key, "@MODULE@": module, "@TITLE@": title}
        (building / f"{module}.py").write_text(source + _filled("model_class.txt", known), encoding="utf-8")
        (building / INSTALLER).write_text(_filled("installer.txt", {}), encoding="utf-8")
        about = {
            "url": "",
            "display_name": title,
            "description": _description(region),
            "module_name": module,
            "mask_required": False,
        }
        write_json(building / ENTRY, {key: about})
    return Plugin(folder, key, exported.difference_hu)


def _check_preparation(preparation: PreparationSettings, extent: str) -> None:
    """Refuse what the plug-in's own preparation does not do."""
    beyond = {
        "corrects the bias field": preparation.mr_bias_correction,
        "removes what is outside the body": preparation.remove_outside,
        "crops to the body": preparation.crop_margin_mm is not None,
        "predicts the whole volume (inference.extent)": extent != "body",
    }
    for what, is_so in beyond.items():
        if is_so:
            raise SettingsError(
                f"The model {what}, which the plug-in for Slicer cannot do.", "Export a model of the recipe anatomy."
            )


def _filled(name: str, known: dict[str, str]) -> str:
    """A text beside this module with its marks replaced."""
    text = (HERE / name).read_text(encoding="utf-8")
    for mark, value in known.items():
        text = text.replace(mark, value)
    return text


def _description(region: str) -> str:
    """What the module shows of the model, as its guide asks for it."""
    return (
        f"Synthetic CT of the {region} from MR, trained without pairs. {NOTICE}"
        "<br><b>Input</b>: T1-weighted MRI."
        "<br><b>Preprocess</b>: resampling, body, scaling: done by the model's class."
        "<br><b>Output</b>: synthetic CT in HU on the grid of the input."
        "<br><b>How to cite:</b><br><cite>Hémon et al. 2023; see CITATION.cff of creps.</cite>"
    )
