"""A model as a plug-in of the 3D Slicer extension SlicerModalityConverter."""
