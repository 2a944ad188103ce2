"""How good are the recipes, against known truth?"""
