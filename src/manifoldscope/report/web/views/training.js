// Training by epoch: small plots that share the epochs, and a slider that reads one of them.
import { classColour } from "../colours.js";
import { band, room, squares, upright } from "../curves.js";
import { clear, h } from "../dom.js";
import { networks } from "../networks.js";
import { explained, keepingFocus, path, plot } from "../plot.js";
import { around } from "../scales.js";
import { behind } from "../table.js";
import { number, percent } from "../words.js";

/**
 * @typedef {import("../facts.js").Choice} Choice
 * @typedef {import("../facts.js").Page} Page
 * @typedef {{epoch: number[]} & Record<string, (number | null)[]>} Curves
 * @typedef {{n: number, of: Curves, column: string, faint: boolean}} Line
 * @typedef {{title: string, share: boolean, lines: Line[], low: string, high: string, levels: number[], classes: {key: number, at: [number, number | null][]}[], said: [string, string][]}} Panel
 * @typedef {ReturnType<typeof plot>} Frame
 */

/** So many measures have a plot; the chosen one is the first. */
const MOST_MEASURES = 6;

export const view = {
  /**
   * @param {HTMLElement} host
   * @param {Page} page
   */
  mount(host, page) {
    const every = ends(epochs(page, [...page.facts.networks.keys()]));
    let network = -1;
    let [first, last] = every;
    let epoch = last;
    const slider = h("input", { type: "range", step: 1, "aria-label": "epoch", oninput: () => read(Number(slider.value)) });
    const at = h("output", {});
    const reader = h("label", { class: "epoch" }, "Epoch ", slider, at);
    const said = h("p", { class: "fact", "aria-live": "polite" });
    const small = h("div", { class: "small-plots" });
    const legend = h("div");
    const rows = h("div");
    host.append(said, reader, small, legend, rows, h("p", { class: "hint" }, page.data.left_out));
    /** @type {{panel: Panel, frame: Frame, told: HTMLElement}[]} */
    let shown = [];
    const begin = (/** @type {number} */ n) => {
      network = n;
      const own = epochs(page, [n]);
      reader.hidden = !own.length; // of a network that was not trained here there is nothing to read
      [first, last] = own.length ? ends(own) : every;
      epoch = last;
      slider.min = String(first);
      slider.max = String(last);
    };
    const read = (/** @type {number} */ value) => {
      epoch = Math.max(first, Math.min(last, Math.round(value)));
      slider.value = String(epoch);
      slider.setAttribute("aria-valuetext", `epoch ${epoch}`);
      at.textContent = `${epoch} of ${last}`;
      for (const { panel, frame, told } of shown) {
        frame.area.querySelector(".cursor")?.remove();
        if (!reader.hidden) frame.area.append(upright(frame, epoch, "cursor"));
        told.textContent = reader.hidden ? "" : readings(page, panel, page.store.choice, epoch);
      }
    };
    return {
      /** @param {Choice} choice */
      update(choice) {
        if (choice.network !== network) begin(choice.network);
        said.textContent = page.data.networks[choice.network]?.text ?? `${page.facts.networks[choice.network]?.name ?? "This network"} was not trained here; lines are of those that were.`;
        const wide = room(small, 320);
        shown = panels(page, choice).map((panel) => ({ panel, frame: drawn(page, choice, panel, every, wide), told: h("p", { class: "reading" }) }));
        clear(small).append(...shown.map(({ panel, frame, told }) => h("figure", {}, h("figcaption", {}, panel.title), told, frame.svg)));
        for (const { frame } of shown) {
          frame.svg.addEventListener("pointermove", (event) => {
            const box = frame.svg.getBoundingClientRect();
            read(frame.x.invert(((event.clientX - box.left) / box.width) * wide));
          });
        }
        keepingFocus(legend, () => clear(legend).append(networks(page, choice, Object.keys(page.data.networks).map(Number))));
        clear(rows).append(tabled(shown.map(({ panel }) => panel), choice));
        read(epoch);
      },
    };
  },
};

/**
 * @param {Page} page
 * @param {number[]} of networks
 * @returns {number[]} every epoch that something is known of
 */
function epochs(page, of) {
  const { networks: trained, measures: probed } = page.data;
  const curves = of.flatMap((n) => [trained[n]?.loss, trained[n]?.trained, trained[n]?.accuracy, trained[n]?.gradients]);
  const values = Object.keys(probed).filter((key) => of.includes(Number(key.split(".")[0]))).map((key) => probed[key]);
  return [...curves, ...values].flatMap((each) => each?.epoch ?? []);
}

/**
 * @param {number[]} numbers
 * @returns {[number, number]}
 */
function ends(numbers) {
  return [Math.min(...numbers), Math.max(...numbers)];
}

/**
 * @param {Page} page
 * @param {Choice} choice
 * @returns {Panel[]}
 */
function panels(page, choice) {
  const { networks: trained, classes } = page.data;
  const all = Object.keys(trained).map(Number);
  const lines = (/** @type {string} */ part, /** @type {string} */ column, faint = false) =>
    all.filter((n) => trained[n][part]?.[column]).map((n) => ({ n, of: trained[n][part], column, faint }));
  const ofClass = (/** @type {string} */ name) => {
    const found = classes[`${choice.network}.${name}`];
    return choice.classes.filter((key) => found?.of[key]).map((key) => ({ key, at: found.epoch.map((/** @type {number} */ epoch, /** @type {number} */ i) => [epoch, found.of[key][i]]) }));
  };
  const levels = [...new Set(all.map((n) => trained[n].chance).filter((value) => value !== null))];
  const none = { low: "", high: "", levels: [], classes: [] };
  const robust = lines("accuracy", "robust");
  /** @type {Panel[]} */
  const found = [
    { ...none, title: "Training loss", share: false, lines: lines("loss", "value"), levels, said: [["value", ""]] },
    { ...none, title: "Training images under PGD (solid), FGSM (dashed)", share: true, lines: [...lines("trained", "pgd"), ...lines("trained", "fgsm", true)], low: "low", high: "high", said: [["pgd", "PGD"], ["fgsm", "FGSM"]] },
    { ...none, title: robust.length ? "Other images under PGD (solid), clean (dashed)" : "Other images, clean", share: true, lines: [...robust, ...lines("accuracy", "clean", robust.length > 0)], low: "low", high: "high", classes: ofClass(robust.length ? "robust" : "clean"), said: [["clean", "clean"], ["robust", "PGD"]] },
    { ...none, title: "Gradients: participation ratio / pixels", share: false, lines: lines("gradients", "value"), said: [["value", ""]] },
    ...measures(page, choice).map((m) => measured(page, choice, m, ofClass(`${choice.layer}.${m}`))),
  ];
  return found.filter(({ lines: of }) => of.length);
}

/**
 * The measures that were probed at the chosen layer, the chosen one first.
 * @param {Page} page
 * @param {Choice} choice
 */
function measures(page, choice) {
  const probed = new Set(Object.keys(page.data.measures).map((key) => key.split(".")).filter(([, l]) => Number(l) === choice.layer).map(([, , m]) => Number(m)));
  return [...probed].sort((a, b) => Number(b === choice.measure) - Number(a === choice.measure) || a - b).slice(0, MOST_MEASURES);
}

/**
 * @param {Page} page
 * @param {Choice} choice
 * @param {number} m
 * @param {Panel["classes"]} classes
 * @returns {Panel}
 */
function measured(page, choice, m, classes) {
  const key = (/** @type {number} */ n) => `${n}.${choice.layer}.${m}`;
  const known = [...page.facts.networks.keys()].filter((n) => page.data.measures[key(n)]?.mean);
  return {
    title: `${page.facts.measures[m].label}, ${page.facts.layers[choice.layer].name}`,
    share: false,
    lines: known.map((n) => ({ n, of: page.data.measures[key(n)], column: "mean", faint: false })),
    low: "lowest",
    high: "highest",
    levels: [],
    classes,
    said: [["mean", "mean"], ["lowest", "lowest"], ["highest", "highest"]],
  };
}

/**
 * @param {Page} page
 * @param {Choice} choice
 * @param {Panel} panel
 * @param {[number, number]} ends
 * @param {number} wide
 */
function drawn(page, choice, panel, [first, last], wide) {
  const margin = 0.04 * (last - first) || 0.5;
  const mine = panel.lines.filter(({ n }) => n === choice.network);
  const banded = mine.filter(({ of, faint }) => !faint && of[panel.low] && of[panel.high]);
  const values = [...panel.lines.flatMap(({ of, column }) => of[column]), ...banded.flatMap(({ of }) => [...of[panel.low], ...of[panel.high]]), ...panel.levels, ...panel.classes.flatMap(({ at }) => at.map(([, y]) => y))];
  const frame = plot({
    width: wide,
    height: 190,
    left: 46,
    x: { domain: [first - margin, last + margin], label: "Epoch", ticks: 5, format: (value) => (Number.isInteger(value) ? number(value) : "") },
    y: { domain: panel.share ? [-0.02, 1.02] : around(values), label: "", ticks: 4, format: (value) => (panel.share ? percent(value) : number(value)) },
    label: panel.title,
  });
  for (const level of panel.levels) frame.area.append(path(frame, [[first, level], [last, level]], { class: "level" }));
  for (const { of } of banded) frame.area.append(band(frame, of.epoch, of[panel.low], of[panel.high], { class: "spread", fill: page.facts.networks[choice.network].colour }));
  const ordered = [...panel.lines].sort((a, b) => Number(a.n === choice.network) - Number(b.n === choice.network));
  for (const { n, of, column, faint } of ordered) {
    const chosen = n === choice.network;
    const { name, colour } = page.facts.networks[n];
    const at = of.epoch.map((epoch, i) => /** @type {[number, number | null]} */ ([epoch, of[column][i]]));
    const line = path(frame, at, { class: chosen ? "main" : "other", stroke: colour, "stroke-dasharray": faint ? "5 3" : null });
    explained(line, name);
    frame.area.append(line);
  }
  for (const { key, at } of panel.classes) {
    const colour = classColour(choice, key);
    const line = path(frame, at, { class: "class", stroke: colour });
    explained(line, page.facts.classes[key].name);
    frame.area.append(line, squares(frame, at, colour));
  }
  return frame;
}

/**
 * What a plot says of the chosen network at an epoch.
 * @param {Page} page
 * @param {Panel} panel
 * @param {Choice} choice
 * @param {number} epoch
 */
function readings(page, panel, choice, epoch) {
  const format = (/** @type {number | null | undefined} */ value) => (panel.share ? percent(value ?? null) : number(value));
  const parts = [];
  for (const [column, name] of panel.said) {
    const of = panel.lines.find(({ n, of: each }) => n === choice.network && each[column])?.of;
    const i = of ? of.epoch.indexOf(epoch) : -1;
    if (of && i >= 0) parts.push(`${name} ${format(of[column][i])}`.trim());
  }
  for (const { key, at } of panel.classes) {
    const found = at.find(([each]) => each === epoch);
    if (found) parts.push(`${page.facts.classes[key].name} ${format(found[1])}`);
  }
  return `${page.facts.networks[choice.network].name}: ${parts.length ? parts.join("; ") : "\u2013"}`;
}

/**
 * @param {Panel[]} shown
 * @param {Choice} choice
 */
function tabled(shown, choice) {
  const rows = [];
  for (const { title, lines } of shown) {
    for (const { of, column } of lines.filter(({ n }) => n === choice.network)) {
      for (const [i, epoch] of of.epoch.entries()) rows.push([title, column, epoch, of[column][i]]);
    }
  }
  return behind(["plot", "value of", "epoch", "value"], rows, "epochs of the chosen network");
}
