// Numbers as the rest of the report writes them (report/words.py): the tests compare the two.

const NONE = "\u2013";
const MINUS = "\u2212";
const THIN = "\u202f";

/**
 * A number for people: `digits` significant digits, a real minus sign, a dash where there is none.
 * @param {number | null | undefined} value
 * @param {number} [digits]
 */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) {
    const grouped = String(size).replace(/\B(?=(\d{3})+$)/g, size >= 10000 ? THIN : "");
    return (value < 0 ? MINUS : "") + grouped;
  }
  return general(value, digits).replace(/-/g, MINUS);
}

/**
 * A correlation: two decimals and a real minus sign.
 * @param {number | null | undefined} value
 */
export function coefficient(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  return fixed(value, 2).replace("-0.00", "0.00").replace("-", MINUS);
}

/**
 * A share as a percentage: `87.5%`.
 * @param {number | null | undefined} share
 */
export function percent(share) {
  return share === null || share === undefined ? NONE : `${number(Number((100 * share).toFixed(1)))}%`;
}

/**
 * `12 (10 to 14)`; without an interval, or where it has no width (a whole number that both halves give), the value alone.
 * @param {number | null} value
 * @param {number | null | undefined} low
 * @param {number | null | undefined} high
 * @param {(value: number | null) => string} [format]
 */
export function interval(value, low, high, format = number) {
  const known = typeof low === "number" && typeof high === "number" && low < high;
  return known ? `${format(value)} (${format(low)} to ${format(high)})` : format(value);
}

/**
 * `a, b and c`; beyond `limit`, how many more.
 * @param {string[]} names
 * @param {number} [limit]
 */
export function listing(names, limit = 8) {
  if (names.length > limit) return `${names.slice(0, limit).join(", ")} and ${names.length - limit} more`;
  if (names.length < 2) return names[0] ?? "none";
  return `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}

/**
 * The shortest of fixed and scientific notation, without trailing zeros: C's `%g`.
 * @param {number} value
 * @param {number} digits
 */
function general(value, digits) {
  const rounded = even(value, digits);
  const [mantissa, power] = rounded.toExponential(digits - 1).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < digits) return trimmed(rounded.toFixed(Math.max(0, digits - 1 - exponent)));
  return `${trimmed(mantissa)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/**
 * So many decimals.
 * @param {number} value
 * @param {number} decimals
 */
function fixed(value, decimals) {
  const digits = Math.floor(Math.log10(Math.abs(value) || 1)) + 1 + decimals;
  return (digits > 0 ? even(value, digits) : value).toFixed(decimals);
}

/**
 * A number that lies exactly between two others of so many digits is the even one of them, as IEEE and Python round; the
 * browser's own rounding takes the larger. Any other number is left as it is.
 * @param {number} value
 * @param {number} digits
 */
function even(value, digits) {
  const [mantissa, power] = value.toExponential(60).split("e");
  const figures = mantissa.replace(/[-.]/g, "");
  if (!/^50*$/.test(figures.slice(digits)) || Number(figures[digits - 1]) % 2 === 1) return value;
  const kept = figures.slice(0, digits);
  return Number(`${value < 0 ? "-" : ""}${kept[0]}.${kept.slice(1)}e${power}`);
}

/** @param {string} text */
function trimmed(text) {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
