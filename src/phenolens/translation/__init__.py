"""Phen-LDiff: fine-tune a latent diffusion model on two conditions and translate cells between them."""
