"""Shapes, tissues and the canvas that phantoms are painted on."""
