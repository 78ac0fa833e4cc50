"""What stands in front of a network, or around it: one defence a file, registered where it is defined."""

from manifoldscope.vision.defences.defence import DEFENCES, Defence, Front
from manifoldscope.vision.defences.denoiser import Denoiser, denoiser_of
from manifoldscope.vision.defences.gabor import Gabor
from manifoldscope.vision.defences.noise_vote import NoiseVote, with_other_noise

__all__ = ["DEFENCES", "Defence", "Denoiser", "Front", "Gabor", "NoiseVote", "denoiser_of", "with_other_noise"]
