"""The networks of RobustBench by name: architecture, normalisation, and the accuracies that its table gives.

What stands here are the rows of its leaderboards (Croce et al. 2021; version 1.1.1) whose architectures are at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Normalisation: TypeAlias = tuple[tuple[float, float, float], tuple[float, float, float]]

NONE: Normalisation = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
HALF: Normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CIFAR10: Normalisation = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
CIFAR10_SHORT: Normalisation = ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262))
CIFAR10_BATCHES: Normalisation = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
CIFAR10_EXACT: Normalisation = (
    (0.4913997551666284, 0.48215855929893703, 0.4465309133731618),
    (0.24703225141799082, 0.24348516474564, 0.26158783926049628),
)
CIFAR100: Normalisation = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
CIFAR100_CHEN: Normalisation = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
CIFAR100_EXACT: Normalisation = (
    (0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
    (0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
)
IMAGENET: Normalisation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

_Row: TypeAlias = tuple[str, str, Normalisation, float, float] | tuple[str, str, Normalisation, float, float, float]


@dataclass(frozen=True)
class Published:
    """A network as RobustBench's table has it.

    Attributes:
        dataset: "cifar10", "cifar100" or "imagenet".
        norm, epsilon: of the ball that it was attacked in, "Linf" or "L2"; epsilon in pixel units.
        name: RobustBench's.
        architecture: one of `ARCHITECTURES`, or "torchvision:NAME".
        mean, std: one value per channel; the network sees (pixels - mean) / std.
        clean, robust: accuracies on the test images, as shares (of ImageNet, on 5,000 of the validation images). The
            robust one is that under AutoAttack, or a slightly lower one that the authors found.
    """

    dataset: str
    norm: str
    epsilon: float
    name: str
    architecture: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    clean: float
    robust: float

    @property
    def path(self) -> str:
        """Dataset, norm and name, as RobustBench calls the file."""
        return f"{self.dataset}/{self.norm}/{self.name}"

    @property
    def n_classes(self) -> int:
        """Of its dataset."""
        return {"cifar10": 10, "cifar100": 100}.get(self.dataset, 1000)


# Name, architecture, normalisation, clean and robust accuracy in percent; epsilon where it is not that of the table.

_CIFAR10_LINF: tuple[_Row, ...] = (
    ("Bartoldson2024Adversarial_WRN-94-16", "wide_resnet_94_16_silu", CIFAR10, 93.68, 73.71),
    ("Bartoldson2024Adversarial_WRN-82-8", "wide_resnet_82_8_silu", CIFAR10, 93.11, 71.59),
    ("Wang2023Better_WRN-70-16", "wide_resnet_70_16_silu", CIFAR10, 93.25, 70.69),
    ("Cui2023Decoupled_WRN-28-10", "wide_resnet_28_10_silu", CIFAR10, 92.16, 67.73),
    ("Wang2023Better_WRN-28-10", "wide_resnet_28_10_silu", CIFAR10, 92.44, 67.31),
    ("Rebuffi2021Fixing_70_16_cutmix_extra", "wide_resnet_70_16_silu", CIFAR10, 92.23, 66.56),
    ("Gowal2021Improving_70_16_ddpm_100m", "wide_resnet_70_16_silu", CIFAR10, 88.74, 66.1),
    ("Gowal2020Uncovering_70_16_extra", "wide_resnet_70_16_silu", CIFAR10, 91.1, 65.87),
    ("Rebuffi2021Fixing_106_16_cutmix_ddpm", "wide_resnet_106_16_silu", CIFAR10, 88.5, 64.58),
    ("Rebuffi2021Fixing_70_16_cutmix_ddpm", "wide_resnet_70_16_silu", CIFAR10, 88.54, 64.2),
    ("Xu2023Exploring_WRN-28-10", "wide_resnet_28_10_silu", CIFAR10, 93.69, 63.89),
    ("Gowal2021Improving_28_10_ddpm_100m", "wide_resnet_28_10_silu", CIFAR10, 87.5, 63.38),
    ("Pang2022Robustness_WRN70_16", "wide_resnet_70_16_silu", CIFAR10, 89.01, 63.35),
    ("Rade2021Helper_extra", "wide_resnet_34_10_silu", CIFAR10, 91.47, 62.83),
    ("Gowal2020Uncovering_28_10_extra", "wide_resnet_28_10_silu", CIFAR10, 89.48, 62.76),
    ("Pang2022Robustness_WRN28_10", "wide_resnet_28_10_silu", CIFAR10, 88.61, 61.04),
    ("Rade2021Helper_ddpm", "wide_resnet_28_10_silu", CIFAR10, 88.16, 60.97),
    ("Rebuffi2021Fixing_28_10_cutmix_ddpm", "wide_resnet_28_10_silu", CIFAR10, 87.33, 60.73),
    ("Sridhar2021Robust_34_15", "wide_resnet_34_15", NONE, 86.53, 60.41),
    ("Sehwag2021Proxy", "wide_resnet_34_10", NONE, 86.68, 60.27),
    ("Wu2020Adversarial_extra", "wide_resnet_28_10", NONE, 88.25, 60.04),
    ("Sridhar2021Robust", "wide_resnet_28_10", NONE, 89.46, 59.66),
    ("Zhang2020Geometry", "wide_resnet_28_10", NONE, 89.36, 59.64, 0.031),
    ("Carmon2019Unlabeled", "wide_resnet_28_10", NONE, 89.69, 59.53),
    ("Gowal2021Improving_R18_ddpm_100m", "preact_resnet18_silu", CIFAR10, 87.35, 58.5),
    ("Chen2024Data_WRN_34_20", "wide_resnet_34_20", NONE, 86.1, 58.09),
    ("Addepalli2021Towards_WRN34", "wide_resnet_34_10", NONE, 85.32, 58.04),
    ("Addepalli2022Efficient_WRN_34_10", "wide_resnet_34_10", NONE, 88.71, 57.81),
    ("Chen2021LTD_WRN34_20", "wide_resnet_34_20", NONE, 86.03, 57.71),
    ("Rade2021Helper_R18_extra", "preact_resnet18_silu", CIFAR10, 89.02, 57.67),
    ("Jia2022LAS-AT_70_16", "wide_resnet_70_16", NONE, 85.66, 57.61),
    ("Chen2024Data_WRN_34_10", "wide_resnet_34_10", NONE, 86.54, 57.3),
    ("Sehwag2020Hydra", "wide_resnet_28_10", NONE, 88.98, 57.14),
    ("Gowal2020Uncovering_70_16", "wide_resnet_70_16_silu", CIFAR10, 85.29, 57.14),
    ("Rade2021Helper_R18_ddpm", "preact_resnet18_silu", CIFAR10, 86.86, 57.09),
    ("Cui2023Decoupled_WRN-34-10", "wide_resnet_34_10", NONE, 85.31, 57.09),
    ("Chen2021LTD_WRN34_10", "wide_resnet_34_10", NONE, 85.21, 56.94),
    ("Gowal2020Uncovering_34_20", "wide_resnet_34_20_silu", CIFAR10, 85.64, 56.82),
    ("Rebuffi2021Fixing_R18_ddpm", "preact_resnet18_silu", CIFAR10, 83.53, 56.66),
    ("Wang2020Improving", "wide_resnet_28_10", NONE, 87.5, 56.29),
    ("Jia2022LAS-AT_34_10", "wide_resnet_34_10", NONE, 84.98, 56.26),
    ("Wu2020Adversarial", "wide_resnet_34_10", NONE, 85.36, 56.17),
    ("Sehwag2021Proxy_R18", "resnet18", NONE, 84.59, 55.54),
    ("Hendrycks2019Using", "wide_resnet_28_10", HALF, 87.11, 54.92),
    ("Cui2020Learnable_34_20", "wide_resnet_34_20", NONE, 88.7, 53.57, 0.031),
    ("Zhang2020Attacks", "wide_resnet_34_10", NONE, 84.52, 53.51),
    ("Rice2020Overfitting", "wide_resnet_34_20", CIFAR10, 85.34, 53.42),
    ("Huang2020Self", "wide_resnet_34_10", NONE, 83.48, 53.34, 0.031),
    ("Zhang2019Theoretically", "wide_resnet_34_10", NONE, 84.92, 53.08, 0.031),
    ("Cui2020Learnable_34_10", "wide_resnet_34_10", NONE, 88.22, 52.86, 0.031),
    ("Addepalli2022Efficient_RN18", "resnet18", NONE, 85.71, 52.48),
    ("Chen2020Efficient", "wide_resnet_34_10", CIFAR10, 85.32, 51.12),
    ("Addepalli2021Towards_RN18", "resnet18", NONE, 80.24, 51.06),
    ("Sitawarin2020Improving", "wide_resnet_34_10", NONE, 86.84, 50.72),
    ("Engstrom2019Robustness", "resnet50", CIFAR10_BATCHES, 87.03, 49.25),
    ("Zhang2019You", "wide_resnet_34_10", NONE, 87.2, 44.83),
    ("Wong2020Fast", "preact_resnet18_no_final_bn", CIFAR10, 83.34, 43.21),
    ("Standard", "wide_resnet_28_10", NONE, 94.78, 0.0),
)

_CIFAR10_L2: tuple[_Row, ...] = (
    ("Wang2023Better_WRN-70-16", "wide_resnet_70_16_silu", CIFAR10, 95.54, 84.97),
    ("Wang2023Better_WRN-28-10", "wide_resnet_28_10_silu", CIFAR10, 95.16, 83.68),
    ("Rebuffi2021Fixing_70_16_cutmix_extra", "wide_resnet_70_16_silu", CIFAR10, 95.74, 82.32),
    ("Gowal2020Uncovering_extra", "wide_resnet_70_16_silu", CIFAR10, 94.74, 80.53),
    ("Rebuffi2021Fixing_70_16_cutmix_ddpm", "wide_resnet_70_16_silu", CIFAR10, 92.41, 80.42),
    ("Rebuffi2021Fixing_28_10_cutmix_ddpm", "wide_resnet_28_10_silu", CIFAR10, 91.79, 78.8),
    ("Augustin2020Adversarial_34_10_extra", "wide_resnet_34_10", CIFAR10_EXACT, 93.96, 78.79),
    ("Sehwag2021Proxy", "wide_resnet_34_10", NONE, 90.93, 77.24),
    ("Augustin2020Adversarial_34_10", "wide_resnet_34_10", CIFAR10_EXACT, 92.23, 76.25),
    ("Rade2021Helper_R18_ddpm", "preact_resnet18_silu", CIFAR10, 90.57, 76.15),
    ("Rebuffi2021Fixing_R18_cutmix_ddpm", "preact_resnet18_silu", CIFAR10, 90.33, 75.86),
    ("Gowal2020Uncovering", "wide_resnet_70_16_silu", CIFAR10, 90.9, 74.5),
    ("Sehwag2021Proxy_R18", "resnet18", NONE, 89.76, 74.41),
    ("Wu2020Adversarial", "wide_resnet_34_10", NONE, 88.51, 73.66),
    ("Augustin2020Adversarial", "resnet50", CIFAR10_EXACT, 91.08, 72.91),
    ("Engstrom2019Robustness", "resnet50", CIFAR10_BATCHES, 90.83, 69.24),
    ("Rice2020Overfitting", "preact_resnet18", CIFAR10, 88.67, 67.68),
    ("Rony2019Decoupling", "wide_resnet_28_10", CIFAR10_SHORT, 89.05, 66.44),
    ("Standard", "wide_resnet_28_10", NONE, 94.78, 0.0),
)

_CIFAR100_LINF: tuple[_Row, ...] = (
    ("Wang2023Better_WRN-70-16", "wide_resnet_70_16_silu", CIFAR100, 75.22, 42.66),
    ("Cui2023Decoupled_WRN-28-10", "wide_resnet_28_10_silu", CIFAR100, 73.85, 39.18),
    ("Wang2023Better_WRN-28-10", "wide_resnet_28_10_silu", CIFAR100, 72.58, 38.77),
    ("Gowal2020Uncovering_extra", "wide_resnet_70_16_silu", CIFAR100, 69.15, 36.88),
    ("Rebuffi2021Fixing_70_16_cutmix_ddpm", "wide_resnet_70_16_silu", CIFAR100, 63.56, 34.64),
    ("Pang2022Robustness_WRN70_16", "wide_resnet_70_16_silu", CIFAR100, 65.56, 33.05),
    ("Cui2023Decoupled_WRN-34-10_autoaug", "wide_resnet_34_10", NONE, 65.93, 32.52),
    ("Rebuffi2021Fixing_28_10_cutmix_ddpm", "wide_resnet_28_10_silu", CIFAR100, 62.41, 32.06),
    ("Jia2022LAS-AT_34_20", "wide_resnet_34_20", NONE, 67.31, 31.91),
    ("Cui2023Decoupled_WRN-34-10", "wide_resnet_34_10", NONE, 65.76, 31.91),
    ("Addepalli2022Efficient_WRN_34_10", "wide_resnet_34_10", NONE, 68.75, 31.85),
    ("Cui2020Learnable_34_10_LBGAT9_eps_8_255", "wide_resnet_34_10", NONE, 62.99, 31.2),
    ("Sehwag2021Proxy", "wide_resnet_34_10", NONE, 65.93, 31.15),
    ("Chen2024Data_WRN_34_10", "wide_resnet_34_10", NONE, 64.32, 31.13),
    ("Pang2022Robustness_WRN28_10", "wide_resnet_28_10_silu", CIFAR100, 63.66, 31.08),
    ("Jia2022LAS-AT_34_10", "wide_resnet_34_10", NONE, 64.89, 30.77),
    ("Chen2021LTD_WRN34_10", "wide_resnet_34_10", NONE, 64.07, 30.59),
    ("Addepalli2021Towards_WRN34", "wide_resnet_34_10", NONE, 65.73, 30.35),
    ("Cui2020Learnable_34_20_LBGAT6", "wide_resnet_34_20", NONE, 62.55, 30.2, 0.031),
    ("Gowal2020Uncovering", "wide_resnet_70_16_silu", CIFAR100, 60.86, 30.03),
    ("Cui2020Learnable_34_10_LBGAT6", "wide_resnet_34_10", NONE, 60.64, 29.33, 0.031),
    ("Rade2021Helper_R18_ddpm", "preact_resnet18_silu", CIFAR100, 61.5, 28.88),
    ("Wu2020Adversarial", "wide_resnet_34_10", CIFAR100_EXACT, 60.38, 28.86),
    ("Rebuffi2021Fixing_R18_ddpm", "preact_resnet18_silu", CIFAR100, 56.87, 28.5),
    ("Hendrycks2019Using", "wide_resnet_28_10", HALF, 59.23, 28.42),
    ("Addepalli2022Efficient_RN18", "resnet18", NONE, 65.45, 27.67),
    ("Cui2020Learnable_34_10_LBGAT0", "wide_resnet_34_10", NONE, 70.25, 27.16, 0.031),
    ("Addepalli2021Towards_PARN18", "preact_resnet18", NONE, 62.02, 27.14),
    ("Chen2020Efficient", "wide_resnet_34_10", CIFAR100_CHEN, 62.15, 26.94),
    ("Sitawarin2020Improving", "wide_resnet_34_10", NONE, 62.82, 24.57),
    ("Rice2020Overfitting", "preact_resnet18", CIFAR100_EXACT, 53.83, 18.95),
)

_IMAGENET_LINF: tuple[_Row, ...] = (
    ("Salman2020Do_50_2", "torchvision:wide_resnet50_2", IMAGENET, 68.46, 38.14),
    ("Salman2020Do_R50", "torchvision:resnet50", IMAGENET, 64.02, 34.96),
    ("Engstrom2019Robustness", "torchvision:resnet50", IMAGENET, 62.56, 29.22),
    ("Wong2020Fast", "torchvision:resnet50", IMAGENET, 55.62, 26.24),
    ("Salman2020Do_R18", "torchvision:resnet18", IMAGENET, 52.92, 25.32),
)


def _entries(dataset: str, norm: str, epsilon: float, rows: tuple[_Row, ...]) -> Iterator[Published]:
    for name, architecture, (mean, std), clean, robust, *other in rows:
        shares = (round(clean / 100, 4), round(robust / 100, 4))
        yield Published(dataset, norm, other[0] if other else epsilon, name, architecture, mean, std, *shares)


PUBLISHED: tuple[Published, ...] = (
    *_entries("cifar10", "Linf", 8 / 255, _CIFAR10_LINF),
    *_entries("cifar10", "L2", 0.5, _CIFAR10_L2),
    *_entries("cifar100", "Linf", 8 / 255, _CIFAR100_LINF),
    *_entries("imagenet", "Linf", 4 / 255, _IMAGENET_LINF),
)
"""Every network, those of one table together."""


def published(name: str) -> Published | None:
    """The network of that name, or of the path "cifar10/L2/NAME"; None where there is none.

    A name alone that stands in several tables is that of the first: of CIFAR-10 and L-infinity, as in RobustBench.

    Example:
        >>> published("Carmon2019Unlabeled").architecture, published("cifar10/L2/Rice2020Overfitting").clean
        ('wide_resnet_28_10', 0.8867)
    """
    return next((entry for entry in PUBLISHED if name in (entry.name, entry.path)), None)
