// The diagnosis card of one class.
import { curves, images, look, spectrum, strip, around } from "../card_drawing.js";
import { counts, curve, doubt, standings, taken, triples, under } from "../cards.js";
import { clear, h } from "../dom.js";
import { behind } from "../table.js";
import { interval, number, percent } from "../words.js";

/**
 * @typedef {import("../facts.js").Facts} Facts
 * @typedef {import("../facts.js").Choice} Choice
 * @typedef {import("../facts.js").Page} Page
 */

const MOST_TRIPLES = 4;
const MOST_MEASURES = 24;
const MOST_TAKEN = 5;
const MOST_ROWS = 200;
const WHERE = ["Network", "Layer", "Measure"];
const ATTACKED = ["Network", "Attack", "Strength", "Iterate", "Robust", "Images", "Robust accuracy", "Low", "High"];

export const view = {
  /**
   * @param {HTMLElement} host
   * @param {Page} page
   */
  mount(host, page) {
    const body = h("div", { class: "diagnosis" });
    host.append(body);
    /** @type {number[]} */
    let before = [];
    let shown = -1;
    const update = (/** @type {Choice} */ choice) => {
      const { classes } = choice;
      if (classes.join() !== before.join() || !classes.includes(shown)) shown = classes[classes.length - 1] ?? -1;
      before = classes;
      const focused = body.contains(document.activeElement) ? document.activeElement?.getAttribute("data-focus") : null;
      clear(body);
      if (shown < 0) body.append(h("p", { class: "missing" }, "Choose a class: in the plot, or by its name in the search."));
      else body.append(others(), ...card(page, choice, shown, host.clientWidth || 560));
      if (focused) /** @type {HTMLElement | null} */ (body.querySelector(`[data-focus="${focused}"]`))?.focus();
    };
    const others = () => {
      const { classes } = page.store.choice;
      const buttons = classes.map((place) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": String(place === shown),
            "data-focus": `class-${place}`,
            onclick: () => {
              shown = place;
              update(page.store.choice);
            },
          },
          page.facts.classes[place].name,
        ),
      );
      return h("div", { class: "which", role: "group", "aria-label": "card of", hidden: classes.length < 2 }, ...buttons);
    };
    return { update };
  },
};

/**
 * @param {Page} page
 * @param {Choice} choice
 * @param {number} position
 * @param {number} wide
 */
function card(page, choice, position, wide) {
  const { facts, store } = page;
  const half = wide > 520 ? Math.max(300, wide / 2 - 8) : Math.max(300, wide);
  const beside = curve(facts, choice, choice.network, position).length > 0;
  const variance = spectrum(facts, choice, position, beside ? half : Math.max(300, wide));
  const width = variance ? half : Math.max(300, wide);
  const left = page.data.left_out;
  return [
    heading(facts, choice, position),
    said(page, choice, position),
    pictures(page, choice, position),
    h("div", { class: "two" }, curves(facts, choice, position, width, (strength) => store.set({ strength })), variance?.figure),
    stands(page, choice, position),
    h("div", { class: "two" }, neighbours(page, choice, position), misclassified(page, choice, position)),
    ...tables(page, choice, position),
    left ? h("p", { class: "files" }, left) : null,
  ].filter((part) => part !== null);
}

/**
 * @param {Facts} facts
 * @param {Choice} choice
 * @param {number} position
 */
function heading(facts, choice, position) {
  const dot = h("span", { class: "dot", "aria-hidden": "true" });
  dot.style.background = look(choice, position).colour;
  const where = [facts.networks[choice.network]?.name, facts.layers[choice.layer]?.name].filter(Boolean).join(", ");
  return h("h3", {}, dot, facts.classes[position].name, h("small", {}, where));
}

/**
 * The card in words, which are of one strength whatever is chosen, and the numbers of what is chosen.
 * @param {Page} page
 * @param {Choice} choice
 * @param {number} position
 */
function said(page, choice, position) {
  const { facts, data } = page;
  const text = data.words[`${choice.network}.${position}`];
  const now = curve(facts, choice, choice.network, position).find((each) => each.strength === choice.strength);
  const clean = facts.accuracy[`${choice.network}.${choice.attack}.${choice.strength}.${choice.iterate}`]?.clean?.[position];
  const margin = data.margins[`${choice.network}`] ?? {};
  const rows = [
    now && ["Robust", `${interval(now.k / now.n, now.low, now.high, percent)}, ${now.k} of ${now.n} images`],
    now && typeof clean === "number" && ["Correct when clean", `${percent(clean / now.n)}, ${clean} of ${now.n} of the same images`],
    ...Object.entries(margin).map(
      ([draw, each]) => each.margin[position] !== null && [`Margin when clean (${draw} draw)`, `${number(each.margin[position])}, standard deviation over images ${number(each.sd[position])}`],
    ),
  ].filter((row) => Array.isArray(row));
  const list = h("dl", {}, ...rows.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]));
  const at = text && !facts.networks[choice.network].at_chance && data.told_under[`${choice.network}`];
  const iterate = facts.attacks[choice.attack]?.iterates[choice.iterate]?.label;
  return h(
    "div",
    { class: "said" },
    at && h("h4", {}, `In words: ${at} `, h("small", {}, "where the classes differ most, whatever is chosen")),
    text && h("p", {}, text),
    now && h("h4", {}, `As chosen: ${[under(facts, choice), iterate].filter(Boolean).join(", ")}`),
    rows.length ? list : null,
  );
}

/**
 * @param {Page} page
 * @param {Choice} choice
 * @param {number} position
 */
function pictures(page, choice, position) {
  const { facts, data } = page;
  const found = triples(facts, choice, position).slice(0, MOST_TRIPLES);
  const row = data.strips[`${position}`];
  if (!found.length && !row) return h("p", { class: "missing" }, "No images of this class are in the page.");
  const few = row && h("img", { class: "images", src: row.uri, alt: `${row.n} clean images of ${facts.classes[position].name}` });
  const none = facts.attacks.length > 0 && !found.length && `The page holds no adversarial images of ${facts.classes[position].name} for ${facts.networks[choice.network].name}.`;
  return h("div", { class: "pictures" }, few ?? null, none && h("p", { class: "hint" }, none), h("div", { class: "triples" }, ...found.map((each) => images(facts, each))));
}

/**
 * @param {Page} page
 * @param {Choice} choice
 * @param {number} position
 */
function stands(page, choice, position) {
  const { facts, store } = page;
  const every = standings(facts, choice, position);
  if (!every.length) return h("p", { class: "missing" }, "No measure has a value for this class in this network and layer.");
  const rows = every.slice(0, MOST_MEASURES).map((each) => {
    const all = facts.geometry[`${choice.network}.${choice.layer}.${each.measure}`].value;
    const label = facts.measures[each.measure].label;
    const away = each.z === null ? "" : `, ${number(each.z, 2)} standard deviations from the mean`;
    const value = interval(each.value, each.low, each.high);
    const [alone, ...ends] = value.split(" ");
    const mark = { value: each.value, low: each.low, high: each.high, ...look(choice, position), hollow: doubt(each) !== "" };
    const drawn = strip(all, [mark], { domain: around(all, each.mean, each.deviation), centre: each.mean, label: `${label}: ${value}${away}` });
    const button = h(
      "button",
      { type: "button", "aria-pressed": String(each.measure === choice.measure), "data-focus": `measure-${each.measure}`, onclick: () => store.set({ measure: each.measure }) },
      label,
    );
    const notes = [doubt(each), each.nothing !== null && `chance gives ${number(each.nothing)}`].filter(Boolean).join("; ");
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, button, notes ? h("small", {}, notes) : null),
      h("td", {}, drawn),
      h("td", { class: "n value" }, alone, ends.length > 0 && " ", ends.length > 0 && h("span", {}, ends.join(" "))),
      h("td", { class: "n" }, each.z === null ? "–" : `${each.z > 0 ? "+" : ""}${number(Number(each.z.toFixed(1)))}`),
      h("td", { class: "n" }, each.percentile === null ? "–" : number(Math.round(each.percentile))),
    );
  });
  const heads = ["Measure", "Among the classes", "Value", "z", "Percen\u00adtile"].map((name) => h("th", { scope: "col" }, name));
  const grid = h("table", { class: "stands own" }, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
  const more = every.length > rows.length && h("p", { class: "files" }, `The first ${rows.length} of ${number(every.length)} measures; the table below has all.`);
  return h("section", {}, h("h4", {}, "Where it stands"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "where it stands" }, grid), more || null);
}

/**
 * @param {Page} page
 * @param {string} key of the button, so that focus finds it again
 * @param {number} position
 */
function other(page, key, position) {
  const chosen = page.store.choice.classes.includes(position);
  return h(
    "button",
    { type: "button", "aria-pressed": String(chosen), "data-focus": `${key}-${position}`, onclick: () => page.store.toggleClass(position) },
    page.facts.classes[position].name,
  );
}

/**
 * @param {Page} page
 * @param {Choice} choice
 * @param {number} position
 */
function neighbours(page, choice, position) {
  const near = page.data.nearest[`${choice.network}.${choice.layer}`]?.[`${position}`];
  if (!near) return null;
  const items = near.map((/** @type {[number, number]} */ [place, value]) => h("li", {}, other(page, "near", place), ` ${number(value)}`));
  return h("section", {}, h("h4", {}, "Nearest classes"), h("p", { class: "hint" }, page.data.pair_measure), h("ol", {}, ...items));
}

/**
 * @param {Page} page
 * @param {Choice} choice
 * @param {number} position
 */
function misclassified(page, choice, position) {
  const parts = [false, true].map((clean) => {
    const found = counts(page.facts, choice, clean);
    if (!found?.n[position]) return null;
    const wrong = found.n[position] - found.correct[position];
    const rows = taken(page.facts, found, position).slice(0, MOST_TAKEN);
    const items = rows.map((row) => h("li", {}, row.position === null ? row.name : other(page, clean ? "clean" : "taken", row.position), ` ${row.count} of ${wrong}`));
    const when = clean ? "When clean" : `Under ${under(page.facts, choice)}, last iterate`;
    const cut = found.least ? `; classes that take fewer than ${found.least} of them may be missing` : "";
    return h("div", {}, h("p", { class: "hint" }, `${when}: ${wrong} of ${found.n[position]} images${cut}`), rows.length ? h("ol", {}, ...items) : null);
  });
  return parts.some(Boolean) ? h("section", {}, h("h4", {}, "Misclassified as"), ...parts) : null;
}

/**
 * Its rows in the tables.
 * @param {Page} page
 * @param {Choice} choice
 * @param {number} position
 */
function tables(page, choice, position) {
  const { facts, data } = page;
  const name = facts.classes[position].name;
  const networks = [choice.network, ...facts.networks.keys()].filter((each, i, all) => all.indexOf(each) === i);
  /** @type {(string | number | null)[][]} */
  const geometry = [];
  for (const n of networks.filter((_, i) => i * facts.layers.length * facts.measures.length < MOST_ROWS)) {
    for (const [l, layer] of facts.layers.entries()) {
      for (const each of standings(facts, { ...choice, network: n, layer: l }, position)) {
        const numbers = [each.value, each.low, each.high, each.ceiling, each.nothing, each.z, each.percentile];
        geometry.push([facts.networks[n].name, layer.name, facts.measures[each.measure].label, ...numbers, doubt(each)]);
      }
    }
  }
  const robust = networks.flatMap((n) =>
    facts.attacks.flatMap((attack, a) =>
      attack.iterates.flatMap((iterate, i) =>
        curve(facts, { ...choice, attack: a, iterate: i }, n, position).map((each) => [facts.networks[n].name, attack.label, each.value, iterate.label, each.k, each.n, each.k / each.n, each.low, each.high]),
      ),
    ),
  );
  const margins = Object.entries(data.margins).flatMap(([network, draws]) =>
    Object.entries(/** @type {Record<string, any>} */ (draws)).map(([draw, each]) => [facts.networks[Number(network)].name, draw, each.margin[position], each.sd[position]]),
  );
  return [
    named(behind([...WHERE, "Value", "Low", "High", "Ceiling", "Chance gives", "z", "Percentile", "Note"], geometry, `geometry of ${name}`), "Its geometry"),
    robust.length ? named(behind(ATTACKED, robust, `robust accuracy of ${name}`), "Its robust accuracies") : null,
    margins.length ? named(behind(["Network", "Draw", "Margin", "Standard deviation"], margins, `margins of ${name}`), "Its margins") : null,
  ];
}

/**
 * @param {HTMLDetailsElement} folded
 * @param {string} text instead of "The table behind it"
 */
function named(folded, text) {
  const summary = folded.querySelector("summary");
  if (summary?.firstChild) summary.firstChild.textContent = `${text} `;
  return folded;
}
