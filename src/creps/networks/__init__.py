"""Plain `nn.Module`s: the generator, the PatchGAN and the frozen perceptual backbone."""
