"""How far an sCT may be off: fitting a calibration, its scores, and the mean error of a case. Takes arrays only."""
