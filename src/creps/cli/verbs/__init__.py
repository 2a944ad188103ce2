"""The verbs of ``creps``, a module each: parse, call the pipeline, report."""

from __future__ import annotations

import click

import creps as package
from creps.cli.console import set_up_logging
from creps.cli.verbs.calibrate import calibrate
from creps.cli.verbs.demo import demo
from creps.cli.verbs.doctor import doctor
from creps.cli.verbs.dose import dose
from creps.cli.verbs.evaluate import evaluate
from creps.cli.verbs.export import export
from creps.cli.verbs.models import models
from creps.cli.verbs.node import node
from creps.cli.verbs.phantom import phantom
from creps.cli.verbs.prepare import prepare
from creps.cli.verbs.report import report
from creps.cli.verbs.service import service
from creps.cli.verbs.settings import settings
from creps.cli.verbs.synthesize import synthesize
from creps.cli.verbs.train import train
from creps.cli.verbs.watch import watch
from creps.provenance import NOTICE

__all__ = ["creps"]

HELP = """Unpaired MRI-to-CT synthesis: train on MR and CT of different patients, no registration.

\b
creps demo -o DEMO                                  a first look on digital phantoms, in minutes
creps synthesize head mr.nii.gz -o sct.nii.gz       an MR: its synthetic CT by a shipped model
creps prepare MR/ CT/ -o COHORT                     folders, a CSV table or DICOM: a prepared cohort
creps train COHORT -o RUN                           a cohort: a model
creps synthesize RUN/model mr.nii.gz -o sct.nii.gz  an MR: its synthetic CT
creps calibrate RUN/model                           how far its sCTs may be off: synthesize --uncertainty
creps evaluate sct.nii.gz ct.nii.gz                 an sCT and the true CT: how far apart
creps dose ct sct.nii.gz --structures S -o OUT      one plan on CT and sCT: how far the doses are apart
creps report sct.nii.gz --mr mr.nii.gz              an sCT, a cohort or a run: one page to read
creps watch IN OUT -m head; creps node; creps service  MRs that arrive in a folder or by DICOM: their sCTs
creps export RUN/model -o model.onnx                a model: its network for other programs
creps models; creps doctor                          which models ship with creps; is this machine ready?
"""


def _version(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        click.echo(f"creps, version {package.__version__}")
        ctx.exit()


@click.group(
    help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=NOTICE
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Details as well.")
@click.pass_context
def creps(ctx: click.Context, quiet: bool, verbose: bool) -> None:
    """The command line; its help is `HELP`."""
    ctx.ensure_object(dict)["quiet"] = quiet
    set_up_logging(quiet, verbose)


VERBS = (
    *(demo, phantom, prepare, train, calibrate, synthesize, evaluate, dose, report),
    *(watch, node, service),
    *(export, settings, models, doctor),
)

for verb in VERBS:
    creps.add_command(verb)
