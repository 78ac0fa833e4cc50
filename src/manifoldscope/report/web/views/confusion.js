// What the images of each class are classified as: a matrix whose cells can be reached by mouse and by keyboard.
import { counts, under } from "../cards.js";
import { classColour, ramp } from "../colours.js";
import { clear, h } from "../dom.js";
import { distances, MOST_SHOWN, ordered, shown, table } from "../matrix.js";
import { explained } from "../plot.js";
import { behind } from "../table.js";
import { number, percent } from "../words.js";

/**
 * @typedef {import("../facts.js").Choice} Choice
 * @typedef {import("../facts.js").Page} Page
 * @typedef {import("../cards.js").Counts} Counts
 * @typedef {{clean: string, order: string, which: string}} State
 */

const MOST_WITH_NUMBERS = 12;

export const view = {
  /**
   * @param {HTMLElement} host
   * @param {Page} page
   */
  mount(host, page) {
    /** @type {State} */
    const state = { clean: "attacked", order: "index", which: "confused" };
    /** @type {[number, number]} row and column of the cell that Tab reaches; column 0 has the names */
    let current = [0, 0];
    const lists = h("div", { class: "lists" });
    const body = h("div", { class: "confusion" });
    host.append(lists, body);
    const list = (/** @type {keyof State} */ part, /** @type {string} */ title) => {
      const select = h("select", { name: `confusion-${part}`, onchange: () => ((state[part] = select.value), (current = [0, 0]), update(page.store.choice)) });
      const label = h("label", {}, h("span", {}, title), select);
      lists.append(label);
      return (/** @type {[string, string][]} */ options) => {
        clear(select).append(...options.map(([value, text]) => h("option", { value }, text)));
        if (!options.some(([value]) => value === state[part])) state[part] = options[0][0];
        select.value = state[part];
        label.hidden = options.length < 2;
      };
    };
    const fill = { clean: list("clean", "Images"), order: list("order", "Sorted by"), which: list("which", "Classes shown") };
    const update = (/** @type {Choice} */ choice) => {
      const { facts, data } = page;
      const has = [counts(facts, choice, false) && ["attacked", under(facts, choice)], counts(facts, choice, true) && ["clean", "clean"]];
      const focused = body.contains(document.activeElement);
      clear(body);
      fill.clean(/** @type {[string, string][]} */ (has.some(Boolean) ? has.filter(Boolean) : [["attacked", "attacked"]]));
      const found = counts(facts, choice, state.clean === "clean");
      lists.hidden = !found;
      if (!found) {
        body.append(h("p", { class: "missing" }, "No predictions of this network are in the page."));
        return;
      }
      const near = Boolean(data.orders[`${choice.network}.${choice.layer}`]);
      const accuracy = state.clean === "clean" ? "clean accuracy" : "robust accuracy";
      fill.order(/** @type {[string, string][]} */ ([["index", "class index"], ["robust", accuracy], near && ["distance", `${data.pair_measure}: near classes together`]].filter(Boolean)));
      const order = ordered(facts, data, choice, state.order, found);
      fill.which(which(page, choice, order));
      const places = shown(order, state.which, found, choice.classes);
      const made = matrix(page, choice, places, found);
      current = [Math.min(current[0], places.length - 1), Math.min(current[1], made.cells[0]?.length - 1)];
      body.append(made.grid, legend(), ...made.rest);
      keys(made, (cell) => (current = cell), current, focused);
    };
    return { update };
  },
};

/**
 * What can be shown of many classes.
 * @param {Page} page
 * @param {Choice} choice
 * @param {number[]} order
 * @returns {[string, string][]}
 */
function which(page, choice, order) {
  const { classes } = page.facts;
  if (order.length <= MOST_SHOWN) return [["confused", "all"]];
  const last = choice.classes[choice.classes.length - 1];
  const pages = Array.from({ length: Math.ceil(order.length / MOST_SHOWN) }, (_, i) => {
    const ends = [i * MOST_SHOWN, Math.min(order.length, (i + 1) * MOST_SHOWN)];
    return /** @type {[string, string]} */ ([String(i), `${number(ends[0] + 1)} to ${number(ends[1])} of ${number(order.length)} in this order`]);
  });
  const around = /** @type {[string, string][]} */ (last === undefined ? [] : [["around", `around ${classes[last].name}`]]);
  return [["confused", `the ${MOST_SHOWN} most confused, and those chosen`], ...around, ...pages];
}

/**
 * @param {Page} page
 * @param {Choice} choice
 * @param {number[]} places
 * @param {Counts} found
 */
function matrix(page, choice, places, found) {
  const { facts, data, store } = page;
  const counted = table(found, places);
  const others = counted.some((row) => row[places.length] > 0);
  const rows = others ? counted : counted.map((row) => row.slice(0, -1));
  const name = (/** @type {number} */ place) => facts.classes[place].name;
  const apart = distances(data, choice);
  const numbers = places.length <= MOST_WITH_NUMBERS;
  /** @type {HTMLElement[][]} */
  const cells = [];
  /** @type {(string | number | null)[][]} */
  const list = [];
  const body = places.map((place, i) => {
    const colour = classColour(choice, place);
    const head = h("th", { scope: "row", tabindex: "-1", title: name(place), class: colour && "mine" }, name(place));
    if (colour) head.style.borderLeftColor = colour;
    const tds = rows[i].map((count, j) => {
      const share = found.n[place] ? count / found.n[place] : 0;
      const other = j < places.length ? places[j] : null;
      const distance = other === null ? null : apart(place, other);
      const seen = other === null ? "any other class" : name(other);
      const beside = distance === null ? "" : `; ${data.pair_measure} ${number(distance)}`;
      const rounded = numbers && share >= 0.01 ? `${Math.round(100 * share)}%` : percent(share);
      const label = `${name(place)} seen as ${seen}: ${number(count)} of ${number(found.n[place])} images (${rounded})${beside}`;
      if (other !== null && count && other !== place) list.push([name(place), seen, count, share, distance]);
      const cell = h("td", { tabindex: "-1", [numbers && count ? "aria-description" : "aria-label"]: label, class: i === j ? "own" : j === places.length ? "rest" : null }, numbers && count ? rounded : "");
      if (count) paint(cell, share);
      explained(cell, label);
      return cell;
    });
    const row = h("tr", {}, head, ...tds);
    row.addEventListener("click", () => store.toggleClass(place));
    cells.push([head, ...tds]);
    return row;
  });
  const heads = [...places.map(name), others && "any other"].filter((text) => typeof text === "string").map((text) => h("th", { scope: "col", title: text }, h("span", {}, text)));
  const grid = h(
    "table",
    { role: "grid", class: numbers ? "matrix numbers" : "matrix", "aria-label": "true classes in rows, predicted classes in columns", "aria-multiselectable": "true" },
    h("thead", {}, h("tr", {}, h("td", {}, h("small", {}, "true ↓ seen as →")), ...heads)),
    h("tbody", {}, ...body),
  );
  grid.style.setProperty("--columns", String(heads.length));
  list.sort((a, b) => Number(b[2]) - Number(a[2]));
  const measure = data.pair_measure || "Distance";
  const rest = [behind(["True class", "Seen as", "Images", "Share", measure], list, "confused pairs of the classes shown"), data.left_out ? h("p", { class: "files" }, data.left_out) : null];
  return { grid: h("div", { class: "scroll", role: "region", "aria-label": "confusion matrix", tabindex: "0" }, grid), cells, rest: rest.filter((part) => part !== null), places, store };
}

/**
 * @param {HTMLElement} cell
 * @param {number} share
 */
function paint(cell, share) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const colour = dark ? glow(Math.sqrt(share)) : ramp(Math.sqrt(share));
  const [r, g, b] = (colour.match(/\d+/g) ?? []).map((part) => ((Number(part) / 255 + 0.055) / 1.055) ** 2.4);
  cell.style.background = colour;
  cell.style.color = 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

/**
 * From a dark page to light blue, so that large shares stand out in the dark theme too.
 * @param {number} share
 */
function glow(share) {
  const part = (/** @type {number} */ from, /** @type {number} */ to) => Math.round(from + share * (to - from));
  return `rgb(${part(38, 150)},${part(50, 210)},${part(62, 250)})`;
}

/**
 * One stop of the Tab key, then arrows from cell to cell; Enter and Space choose the class of the row.
 * @param {ReturnType<typeof matrix>} made
 * @param {(cell: [number, number]) => void} moved
 * @param {[number, number]} start
 * @param {boolean} focus
 */
function keys(made, moved, start, focus) {
  const { cells, places, store } = made;
  let [row, column] = start;
  const go = (/** @type {number} */ i, /** @type {number} */ j, /** @type {boolean} */ now) => {
    cells[row][column].tabIndex = -1;
    [row, column] = [Math.max(0, Math.min(i, cells.length - 1)), Math.max(0, Math.min(j, cells[0].length - 1))];
    cells[row][column].tabIndex = 0;
    moved([row, column]);
    if (now) cells[row][column].focus();
  };
  if (!cells.length) return;
  go(row, column, focus);
  made.grid.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (!target.matches("th, td")) return;
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -999], End: [0, 999] }[event.key];
    if (step) go(row + step[0], column + step[1], true);
    else if (event.key === "Enter" || event.key === " ") store.toggleClass(places[row]);
    else return;
    event.preventDefault();
  });
}

/** What the colours mean. */
function legend() {
  const steps = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1].map((share) => {
    const box = h("span", {}, percent(share));
    paint(box, share);
    return box;
  });
  return h("p", { class: "legend" }, "Share of the images of the true class: ", ...steps);
}
