// What colours mean in the picture of manifolds, what is written of an image, and the table behind it.
import { CLASS_COLOURS, diverging } from "./colours.js";
import { h, s } from "./dom.js";
import { parts } from "./manifolds_stage.js";
import { MARKS } from "./manifolds_still.js";
import { behind } from "./table.js";
import { number, percent } from "./words.js";

/**
 * @typedef {import("./facts.js").Choice} Choice
 * @typedef {import("./facts.js").Facts} Facts
 * @typedef {import("./facts.js").Page} Page
 * What is shown: a network's points in a layer, their axes, the classes by position, and rows of their images.
 * @typedef {{network: any, key: string, layer: number, facts: Facts, points: import("./manifolds_axes.js").Points,
 *   axes: import("./manifolds_axes.js").Axes, classes: number[], rows: number[], before: Float32Array,
 *   after: Float32Array}} Shown
 */

const OUTCOMES = [
  { name: "robust", colour: "#009E73" },
  { name: "misclassified when attacked", colour: "#D55E00" },
  { name: "misclassified when clean", colour: "#767676" },
];

/**
 * Which of the classes shown an image belongs to.
 * @param {Shown} shown
 * @param {number} row
 */
export function placeOf(shown, row) {
  return shown.classes.indexOf(shown.points.label[row]);
}

/**
 * The colour of each image, and what colours mean.
 * @param {Shown} shown
 * @param {string} by
 */
export function tints(shown, by) {
  const { points, rows, network } = shown;
  const outcome = (/** @type {number} */ row) => outcomeOf(shown, row);
  const sizes = rows.map((row) => Math.abs(points.margin[row])).filter(Number.isFinite).sort((a, b) => a - b);
  const most = sizes[Math.floor(0.95 * (sizes.length - 1))] || 1;
  /** @type {Record<string, (row: number) => string>} */
  const ways = {
    class: (row) => CLASS_COLOURS[placeOf(shown, row) % CLASS_COLOURS.length],
    outcome: (row) => OUTCOMES[outcome(row)].colour,
    margin: (row) => diverging(-(points.margin[row] || 0) / most),
  };
  const colours = new Float32Array(3 * rows.length);
  for (const [i, row] of rows.entries()) colours.set(parts(ways[by](row)) ?? [0.5, 0.5, 0.5], 3 * i);
  const known = OUTCOMES.filter((_, place) => rows.some((row) => outcome(row) === place));
  const key = (/** @type {string} */ colour, /** @type {string} */ text) => h("span", {}, dot(0, colour), ` ${text}  `);
  /** @type {Record<string, HTMLElement[]>} */
  const words = {
    class: [],
    outcome: known.map((each) => key(each.colour, network.attack ? each.name : each.name.replace("robust", "correct"))),
    margin: [key(diverging(1), `margin ${number(-most, 2)}: misclassified`), key(diverging(0), "0"), key(diverging(-1), `${number(most, 2)}: correct, by far`)],
  };
  return { colours, words: words[by] };
}

/**
 * @param {Shown} shown
 * @param {number} row
 */
function outcomeOf({ points, facts }, row) {
  const own = facts.classes[points.label[row]].index;
  if (points.prediction[row] !== own) return 2;
  return points.attacked && points.attacked[row] !== own ? 1 : 0;
}

/**
 * A mark as it stands in the picture.
 * @param {number} shape
 * @param {string} colour
 */
function dot(shape, colour) {
  const mark = s("path", { d: MARKS[shape % MARKS.length], fill: colour, stroke: "var(--soft)", "stroke-width": 0.12 });
  return s("svg", { viewBox: "-1.3 -1.3 2.6 2.6", width: 12, height: 12, "aria-hidden": "true" }, mark);
}

/**
 * A button for a class in the picture: what was chosen is let go, and what stands beside it is chosen.
 * @param {Page} page
 * @param {Choice} choice
 * @param {number} position
 * @param {number} place
 */
export function chip({ facts, store }, choice, position, place) {
  const chosen = choice.classes.includes(position);
  const { name } = facts.classes[position];
  const mark = dot(place, CLASS_COLOURS[place % CLASS_COLOURS.length]);
  const title = chosen ? `let ${name} go` : `choose ${name}`;
  const attributes = { type: "button", "aria-pressed": String(chosen), title, onclick: () => store.toggleClass(position) };
  const button = h("button", attributes, mark, ` ${name}`, !chosen && choice.classes.length > 0 && h("small", {}, " (nearest)"));
  button.style.color = "var(--ink)";
  return button;
}

/**
 * What a network took an image for.
 * @param {Shown} shown
 * @param {number} index of the output
 */
function seen({ facts, network }, index) {
  if (index < 0) return "nothing";
  const known = facts.classes.find((each) => each.index === index)?.name ?? network.output_names[index];
  return known ?? `class ${index}`;
}

/**
 * An image in words.
 * @param {Shown} shown
 * @param {number} place among the rows
 */
export function described(shown, place) {
  const { points, facts, network } = shown;
  const row = shown.rows[place];
  const said = [
    `${facts.classes[points.label[row]].name} (image ${place + 1} of ${shown.rows.length})`,
    `clean: ${seen(shown, points.prediction[row])}, margin ${number(points.margin[row])}`,
  ];
  if (points.attacked) said.push(`${network.attack}: ${seen(shown, points.attacked[row])}`);
  return `${said.join("; ")}.`;
}

/**
 * What the picture shows, for those who do not see it.
 * @param {Shown} shown
 */
export function spoken({ classes, rows, facts }) {
  const names = classes.map((position) => facts.classes[position].name);
  return `${rows.length} images of ${names.join(", ")} in three axes; arrows rotate, + and - zoom, n and p step through images`;
}

/**
 * How much of the variance is seen, and what is not shown.
 * @param {Shown} shown
 * @param {string} leftOut
 * @param {Choice} choice
 */
export function told(shown, leftOut, choice) {
  const { points, axes, facts, network, layer } = shown;
  const sum = axes.shares.reduce((all, share) => all + share, 0);
  const said = [
    `These three axes show ${percent(sum)} of the variance of these classes in the ${number(points.features)} features of ${facts.layers[layer].name}; the ${points.d} axes that the page holds show ${percent(axes.spanned)}.`,
  ];
  if (points.adversarial) {
    const moved = points.movedWithin === null ? "" : `, and ${percent(points.movedWithin)} of the squared length of all displacements lies in these ${points.d} axes`;
    said.push(`Attacked by ${network.attack}; only images that are classified correctly are attacked${moved}.`);
  }
  if (layer !== choice.layer) said.push(`No points were kept of ${facts.layers[choice.layer]?.name ?? "the chosen layer"}; ${facts.layers[layer].name} is shown.`);
  const without = choice.classes.filter((position) => !points.classes.includes(position));
  if (without.length) said.push(`No points were kept of ${without.map((position) => facts.classes[position].name).join(", ")}.`);
  return [...said, leftOut].join(" ").trim();
}

/** @param {Shown} shown */
export function tabled(shown) {
  const { points, facts, rows, before, after } = shown;
  const three = (/** @type {Float32Array} */ values, /** @type {number} */ i) => [...values.subarray(3 * i, 3 * i + 3)];
  const columns = ["class", "clean_prediction", "margin", "axis_1", "axis_2", "axis_3"];
  if (points.attacked) columns.push("attacked_prediction", "attacked_1", "attacked_2", "attacked_3");
  const lines = rows.map((row, i) => [
    facts.classes[points.label[row]].name,
    seen(shown, points.prediction[row]),
    points.margin[row],
    ...three(before, i),
    ...(points.attacked ? [seen(shown, points.attacked[row]), ...three(after, i)] : []),
  ]);
  return behind(columns, lines, "images in the shared axes");
}
