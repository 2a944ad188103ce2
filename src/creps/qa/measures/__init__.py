"""What is measured of an sCT and its MR: functions of a `Scene` that return a `Measure`."""
