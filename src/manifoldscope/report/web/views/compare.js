// The cards of the chosen classes beside each other.
import { images, look, strip } from "../card_drawing.js";
import { curve, standing, triples, viewData } from "../cards.js";
import { clear, h } from "../dom.js";
import { around } from "../scales.js";
import { behind } from "../table.js";
import { interval, number, percent } from "../words.js";

/**
 * @typedef {import("../facts.js").Facts} Facts
 * @typedef {import("../facts.js").Choice} Choice
 * @typedef {import("../facts.js").Page} Page
 * @typedef {import("../card_drawing.js").Mark} Mark
 * @typedef {{label: string, all: (number | null)[], values: ({value: number, low: number | null, high: number | null} | null)[],
 *   domain: [number, number], format: (value: number | null) => string, now: boolean}} Row
 */

const MOST_MEASURES = 24;

export const view = {
  /**
   * @param {HTMLElement} host
   * @param {Page} page
   */
  mount(host, page) {
    const body = h("div", { class: "compared" });
    host.append(body);
    return {
      update(/** @type {Choice} */ choice) {
        clear(body);
        if (choice.classes.length < 2) body.append(...few(page, choice));
        else body.append(...beside(page, choice));
      },
    };
  },
};

/**
 * What is said where fewer than two classes are chosen.
 * @param {Page} page
 * @param {Choice} choice
 */
function few(page, choice) {
  const classes = page.data.suggested[`${choice.network}.${choice.attack}.${choice.strength}.${choice.iterate}`];
  const text = h("p", { class: "missing" }, "Choose two to six classes: in the plot, or by their names in the search.");
  if (!classes) return [text];
  const names = classes.map((/** @type {number} */ place) => page.facts.classes[place].name);
  const button = h("button", { type: "button", onclick: () => page.store.set({ classes }) }, `Choose ${names.join(", ")}`);
  return [text, h("p", {}, button, " – from the least to the most robust here.")];
}

/**
 * @param {Page} page
 * @param {Choice} choice
 */
function beside(page, choice) {
  const { facts } = page;
  const rows = [...accuracies(facts, choice), ...measures(facts, choice)];
  const names = choice.classes.map((place) => facts.classes[place].name);
  const heads = choice.classes.map((place) => {
    const dot = h("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = look(choice, place).colour;
    return h("th", { scope: "col" }, dot, facts.classes[place].name);
  });
  const drawn = rows.map((row) => {
    const marks = row.values.flatMap((value, i) => (value ? [/** @type {Mark} */ ({ ...value, ...look(choice, choice.classes[i]) })] : []));
    const said = row.values.map((value, i) => `${names[i]} ${value ? row.format(value.value) : "–"}`).join(", ");
    const label = `${row.label}: ${said}`;
    return h(
      "tr",
      { class: row.now && "now" },
      h("th", { scope: "row" }, h("div", { class: "placed" }, h("span", {}, row.label), marks.length > 0 && strip(row.all, marks, { domain: row.domain, label }))),
      ...row.values.map((value) => h("td", { class: "n", title: value && interval(value.value, value.low, value.high, row.format) }, row.format(value?.value ?? null))),
    );
  });
  const grid = h(
    "table",
    { class: "stands" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What, among the classes"), ...heads)),
    h("tbody", {}, ...drawn),
  );
  const listed = rows.flatMap((row) => row.values.map((value, i) => [names[i], row.label, value?.value, value?.low, value?.high]));
  const where = [facts.networks[choice.network]?.name, facts.layers[choice.layer]?.name, facts.attacks[choice.attack]?.label];
  return [
    h("p", { class: "hint" }, where.filter(Boolean).join(", ")),
    pictures(facts, choice),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "chosen classes side by side" }, grid),
    behind(["Class", "What", "Value", "Low", "High"], listed, "chosen classes side by side"),
  ];
}

/**
 * A row for each strength of the chosen attack.
 * @param {Facts} facts
 * @param {Choice} choice
 * @returns {Row[]}
 */
function accuracies(facts, choice) {
  const attack = facts.attacks[choice.attack];
  const lines = choice.classes.map((place) => curve(facts, choice, choice.network, place));
  return (attack?.strengths ?? []).map((each, strength) => {
    const all = facts.accuracy[`${choice.network}.${choice.attack}.${strength}.${choice.iterate}`];
    return {
      label: `Robust accuracy, ${attack.symbol === "ε" ? "ε =" : attack.symbol} ${each.label}`,
      all: all ? all.k.map((k, i) => (k === null || !all.n[i] ? null : k / all.n[i])) : [],
      values: lines.map((line) => {
        const at = line.find((found) => found.strength === strength);
        return at ? { value: at.k / at.n, low: at.low, high: at.high } : null;
      }),
      domain: [0, 1],
      format: percent,
      now: strength === choice.strength,
    };
  });
}

/**
 * A row for each measure of the chosen layer.
 * @param {Facts} facts
 * @param {Choice} choice
 * @returns {Row[]}
 */
function measures(facts, choice) {
  const rows = facts.measures.map(({ label }, measure) => {
    const all = facts.geometry[`${choice.network}.${choice.layer}.${measure}`]?.value ?? [];
    const values = choice.classes.map((place) => standing(facts, choice.network, choice.layer, measure, place));
    const ends = values.flatMap((each) => (each ? [each.low, each.high] : []));
    const domain = around([...all, ...ends], 0.02);
    return { label, all, values, domain, format: number, now: measure === choice.measure };
  });
  return rows.filter((row) => row.values.some(Boolean)).slice(0, MOST_MEASURES);
}

/**
 * One attacked image of each class.
 * @param {Facts} facts
 * @param {Choice} choice
 */
function pictures(facts, choice) {
  const strips = viewData(facts, "card")?.strips ?? {};
  const parts = choice.classes.map((place) => {
    const [first] = triples(facts, choice, place);
    const row = strips[`${place}`];
    const few = !first && row && h("img", { class: "images", src: row.uri, alt: `clean images of ${facts.classes[place].name}` });
    const dot = h("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = look(choice, place).colour;
    return h("div", {}, h("h4", {}, dot, facts.classes[place].name), first ? images(facts, first) : few || h("p", { class: "hint" }, "no images in the page"));
  });
  return h("div", { class: "triples" }, ...parts);
}
