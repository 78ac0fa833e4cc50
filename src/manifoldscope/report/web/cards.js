// What the cards of classes are made of: where a class stands, as what it is misclassified, and its pictures.

/**
 * @typedef {import("./facts.js").Facts} Facts
 * @typedef {import("./facts.js").Choice} Choice
 * @typedef {{network: number, attack: number | null, strength: number | null, under: string, before: string,
 *   after: string, wrong: boolean, factor: number | null, images: number[]}} Triple
 * @typedef {{measure: number, value: number, low: number | null, high: number | null, z: number | null,
 *   percentile: number | null, mean: number, deviation: number, n: number, ceiling: number | null, nothing: number | null,
 *   nearCeiling: boolean, ofSample: boolean}} Standing
 * @typedef {{of: number[], correct: number[], n: number[], least?: number}} Counts
 */

/** Instead of a share that there is not. */
const NONE = 65535;

/**
 * The data of a view, also for another one; null where there are none.
 * @param {Facts} facts
 * @param {string} name
 * @returns {any}
 */
export function viewData(facts, name) {
  return facts.views.find((view) => view.name === name)?.data ?? null;
}

/**
 * Whole numbers of 16 bits from base64.
 * @param {string} text
 */
export function unpacked(text) {
  const letters = atob(text);
  return Array.from({ length: letters.length >> 1 }, (_, i) => letters.charCodeAt(2 * i) + 256 * letters.charCodeAt(2 * i + 1));
}

/**
 * Decimal logarithms of shares; null where there is none.
 * @param {string} text
 * @returns {(number | null)[]}
 */
export function logShares(text) {
  return unpacked(text).map((level) => (level === NONE ? null : -level / 1000));
}

/**
 * Whether a class is marked: `true` marks all, and text has a bit for each class.
 * @param {boolean | string | undefined} marks
 * @param {number} position
 */
export function marked(marks, position) {
  if (typeof marks !== "string") return Boolean(marks);
  return ((atob(marks).charCodeAt(position >> 3) >> (7 - (position & 7))) & 1) === 1;
}

/**
 * Where a class stands on a measure, among the classes of the page; null where it has no value.
 * @param {Facts} facts
 * @param {number} network
 * @param {number} layer
 * @param {number} measure
 * @param {number} position
 * @returns {Standing | null}
 */
export function standing(facts, network, layer, measure, position) {
  const key = `${network}.${layer}.${measure}`;
  const cell = facts.geometry[key];
  const value = cell?.value[position] ?? null;
  if (value === null) return null;
  const known = /** @type {number[]} */ (cell.value.filter((each) => each !== null));
  const n = known.length;
  const mean = known.reduce((sum, each) => sum + each, 0) / n;
  const square = known.reduce((sum, each) => sum + (each - mean) ** 2, 0);
  const varies = known.some((each) => each !== known[0]);
  const deviation = varies ? Math.sqrt(square / (n - 1)) : 0;
  const smaller = known.filter((each) => each < value).length + known.filter((each) => each === value).length / 2 - 0.5;
  const card = viewData(facts, "card");
  const nothing = card?.null?.[key] ?? null;
  return {
    measure,
    value,
    low: cell.low?.[position] ?? null,
    high: cell.high?.[position] ?? null,
    z: deviation ? (value - mean) / deviation : null,
    percentile: n > 1 ? (100 * smaller) / (n - 1) : null,
    mean,
    deviation,
    n,
    ceiling: cell.ceiling?.[position] ?? null,
    nothing: Array.isArray(nothing) ? nothing[position] : nothing,
    nearCeiling: marked(card?.doubt?.[key]?.ceiling, position),
    ofSample: marked(card?.doubt?.[key]?.sample, position),
  };
}

/**
 * All that is known of where a class stands in a layer, in the order of the measures.
 * @param {Facts} facts
 * @param {Choice} choice
 * @param {number} position
 * @returns {Standing[]}
 */
export function standings(facts, choice, position) {
  const every = facts.measures.map((_, measure) => standing(facts, choice.network, choice.layer, measure, position));
  return every.filter((each) => each !== null);
}

/**
 * What doubt there is of a value, in words; empty where there is none.
 * @param {Standing} each
 */
export function doubt(each) {
  const reasons = [];
  if (each.nearCeiling) reasons.push("near the most that so many points can show");
  if (each.ofSample) reasons.push("describes the sample or the width of the layer, and not the manifold");
  return reasons.join("; ");
}

/**
 * The counts of the images of every class by what they are classified as; undefined where not known.
 * @param {Facts} facts
 * @param {Choice} choice
 * @param {boolean} clean
 * @returns {Counts | undefined}
 */
export function counts(facts, choice, clean) {
  const data = viewData(facts, "confusion");
  if (clean) return data?.clean[`${choice.network}`];
  return data?.attacked[`${choice.network}.${choice.attack}.${choice.strength}`];
}

/**
 * What the images of a class are misclassified as, the most frequent first.
 * @param {Facts} facts
 * @param {Counts | undefined} found
 * @param {number} position
 * @returns {{name: string, position: number | null, count: number}[]}
 */
export function taken(facts, found, position) {
  const outside = viewData(facts, "confusion")?.outside ?? [];
  const rows = [];
  for (let i = 0; found && i < found.of.length; i += 3) {
    const [label, other, count] = found.of.slice(i, i + 3);
    if (label !== position) continue;
    const inside = other >= 0;
    rows.push({ name: inside ? facts.classes[other].name : outside[-1 - other], position: inside ? other : null, count });
  }
  return rows.sort((a, b) => b.count - a.count);
}

/**
 * The attacked images of a class in the chosen network, those nearest to the chosen attack first.
 * @param {Facts} facts
 * @param {Choice} choice
 * @param {number} position
 * @returns {Triple[]}
 */
export function triples(facts, choice, position) {
  /** @type {Triple[]} */
  const every = viewData(facts, "card")?.triples?.of[`${position}`] ?? [];
  const far = (/** @type {Triple} */ each) =>
    100 * Number(each.attack !== choice.attack) + Math.abs((each.strength ?? 50) - choice.strength);
  return every.filter((each) => each.network === choice.network).sort((a, b) => far(a) - far(b));
}

/**
 * How many of its images are robust at each strength of the chosen attack.
 * @param {Facts} facts
 * @param {Choice} choice
 * @param {number} network
 * @param {number} position
 * @returns {{strength: number, value: number, label: string, k: number, n: number, low: number | null, high: number | null}[]}
 */
export function curve(facts, choice, network, position) {
  const strengths = facts.attacks[choice.attack]?.strengths ?? [];
  const found = strengths.map(({ value, label }, strength) => {
    const all = facts.accuracy[`${network}.${choice.attack}.${strength}.${choice.iterate}`];
    const [k, n] = [all?.k[position] ?? null, all?.n[position] ?? null];
    return k === null || !n ? null : { strength, value, label, k, n, low: all.low[position], high: all.high[position] };
  });
  return found.filter((each) => each !== null);
}

/**
 * The chosen attack and its strength in words.
 * @param {Facts} facts
 * @param {Choice} choice
 */
export function under(facts, choice) {
  const attack = facts.attacks[choice.attack];
  if (!attack) return "";
  const label = attack.strengths[choice.strength]?.label ?? "";
  return `${attack.label}, ${attack.symbol === "ε" ? "ε =" : attack.symbol} ${label}`;
}
