"""Real heads without a CT: what can be told of their sCTs from a skull label and from anatomy."""
