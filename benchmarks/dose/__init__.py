"""Does MAE rank synthetic CTs as dose does? Recipes, baselines and known errors on test phantoms."""
