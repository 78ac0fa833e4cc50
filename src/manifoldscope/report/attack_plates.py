"""The plates of attacks: what they found, on which networks it holds, and whether they and training can be trusted."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from manifoldscope.report import behind, figures, words
from manifoldscope.report.contents import MOST_ATTACKS, Contents, Plate, as_listed, number_range


def accuracy(contents: Contents) -> Iterator[Plate]:
    """Accuracy against the strength of each attack."""
    for place, attack in enumerate(contents.attacks[:MOST_ATTACKS]):
        table = behind.mean_accuracy(contents.tables["robustness"], attack=attack)
        if table.is_empty():
            continue
        threat = words.threat(attack)
        yield Plate(
            name=words.slug("accuracy-by-strength", attack),
            title=f"Accuracy under {threat}",
            caption=(
                f"The share of all images that are classified correctly under {threat}, with its 95% Wilson interval "
                "as a band. Solid: the last iterate, the attack as it is usually written. Dashed: no iterate on the "
                "way was misclassified, never above the solid line; where the two part, the attack had already won "
                "and walked on. Thin lines are single classes. An undefended network that does not come near 0 at a "
                "large strength points to a weak attack rather than a strong network."
            ),
            chart=figures.accuracy_by_strength(contents.tables["robustness"], attack=attack, models=contents.models),
            table=table,
            more=place > 0,
        )


def smallest(contents: Contents) -> Iterator[Plate]:
    """Accuracy against epsilon, class by class, from searches for the smallest perturbation: a plate a search."""
    found, verdicts = contents.tables["smallest"], contents.tables["verdicts"]
    for place, threat in enumerate(sorted(found["threat"].unique())):
        table = behind.not_found(found, threat=threat)
        norm = table["norm"][0].replace("linf", "L∞").replace("l2", "L2")
        yield Plate(
            name=words.slug("accuracy-by-smallest", threat),
            title=f"Accuracy against ε by the search {words.threat(threat)}",
            caption=(
                f"Each line is a class: the share of its {number_range(table['n_images'])} images for which no "
                f"perturbation of at most ε ({norm}) was found that fells them; it starts at the clean accuracy. The "
                "mark is where half of the class has fallen, the median smallest ε. All are upper bounds: a search "
                "finds a perturbation or does not, it does not certify that there is no smaller one. The share not "
                "found up to the largest ε searched stands above each panel, and class by class in the table, where a "
                "median or quartile that was not reached is a dash."
            ),
            chart=figures.accuracy_by_smallest(found, verdicts, threat=threat, models=contents.models),
            table=table,
            more=place > 0,
        )


def transfer(contents: Contents) -> Iterator[Plate]:
    """What was made on each network and judged on each: a plate a threat."""
    every = behind.transfer_table(contents.tables["transfer"])
    captioned = False
    for threat in as_listed(set(every["attack"]), contents.attacks)[:MOST_ATTACKS]:
        table = every.filter(pl.col("attack") == threat)
        yield Plate(
            name=words.slug("transfer", threat),
            title=f"Transfer of {words.threat(threat)} between networks",
            caption=(
                "A row is the network on which the attacked images were made, a column the network that judges them; "
                f"a panel is a strength. Each cell says which share of the images falls (%, its 95% Wilson interval "
                "below it), among those that both networks classify correctly when clean: "
                f"{number_range(table['n_clean_correct'])} of {number_range(table['n_images'])} images, so that cells "
                "of one row may count different images. The outlined diagonal is the attack on the network itself, "
                "which it saw (white-box); elsewhere the judge was never asked (black-box, by transfer). Grey: no "
                "image counts. Images are last iterates. Where a network falls more often off the diagonal than on "
                "it, the attack on that network is weak: its gradients may be masked. A small share off the diagonal "
                "does not make a network robust."
            )
            if not captioned
            else f"As the first of these figures, for {words.threat(threat)}.",
            chart=figures.transfer_matrix(table, attack=threat, models=contents.models),
            table=table,
            more=captioned,
        )
        captioned = True


def convergence(contents: Contents) -> Iterator[Plate]:
    """Accuracy against the step of the attack that was checked."""
    table = behind.convergence_table(contents.tables["convergence"])
    if table.is_empty():
        return
    threat = words.threat(str(table["threat"][0]))
    at = words.at_strength(str(table["threat"][0]), float(table["strength"][0]))
    yield Plate(
        name="accuracy-by-step",
        title=f"Accuracy by the step of {threat} at {at}",
        caption=(
            f"The share of a sample of {number_range(table['n_images'])} images that is classified correctly when "
            "clean and at every iterate so far, with its 95% Wilson interval as a band; at step 0 the random start "
            "counts alone. Solid: the attack as the study runs it, which ends at the vertical line. Dashed: the same "
            "with twice as many steps, which are shorter where their size follows from their number. An attack has "
            "converged where the dashed line ends no lower than the solid one; one that still falls there would find "
            "more with more steps. Both are attacks of one kind: a line that is level may be stuck. Bands are of the "
            "sample, and both lines share its images: what doubling fells is counted image by image in the checks."
        ),
        chart=figures.accuracy_by_step(table, models=contents.models),
        table=table,
    )


def training(contents: Contents) -> Iterator[Plate]:
    """Loss and accuracy under attack, epoch by epoch."""
    table = behind.training_table(contents.tables["training"])
    if table.is_empty():
        return
    judged = table.filter(pl.col("n_images") > 0)
    text = "The mean training loss of each epoch; dotted is ln(classes), the loss of guessing."
    if judged.height:
        text = (
            f"Left: {text[0].lower()}{text[1:]} Right, for networks that are trained on attacked images: the share of "
            f"{number_range(judged['n_images'])} training images that is classified correctly under PGD of ten steps "
            "(solid, with its 95% Wilson interval as a band) and under FGSM, its single step (dashed), both at the "
            "full radius of training. Marks are the epochs that were judged. Where the dashed line rises while the "
            "solid one collapses, the network has learnt to hide from a single step (catastrophic overfitting). These "
            "are images that the network trains on: not shown is how others fare."
        )
    yield Plate(
        name="training-history",
        title="Training, epoch by epoch",
        caption=text,
        chart=figures.training_history(table, models=contents.models),
        table=table,
    )
