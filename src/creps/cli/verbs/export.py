"""``creps export``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.options import MODEL, PATH

__all__ = ["export"]


@click.command()
@click.argument("model", type=MODEL)
@click.option("-o", "--output", type=PATH, required=True, help="ONNX file to write; with --slicer a folder.")
@click.option("--slicer", is_flag=True, help="Write a plug-in of SlicerModalityConverter (3D Slicer).")
@click.option("--overwrite", is_flag=True, help="Overwrite existing output.")
@click.pass_context
def export(ctx: click.Context, model: str, output: Path, slicer: bool, overwrite: bool) -> None:
    """Write the network of MODEL as ONNX, for programs without PyTorch.

    MODEL is the name of a shipped model (creps models), or a model folder, run or checkpoint.
    Its predictions are compared with PyTorch's before the file gets its name. The file's metadata say how MRs are
    prepared for it. Needs pip install 'creps[export]'.
    """
    from creps.api import load

    loaded = load(model)
    exported = (loaded.export_slicer if slicer else loaded.export)(output, overwrite=overwrite)
    if not ctx.obj["quiet"]:
        click.echo(f"Largest difference between ONNX Runtime and PyTorch: {exported.difference_hu:.2g} HU", err=True)
    click.echo(exported.path)
