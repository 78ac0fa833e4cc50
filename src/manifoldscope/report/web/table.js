// The table behind a picture, and tables that are sorted by the heading that is pressed.
import { h } from "./dom.js";
import { number } from "./words.js";

/** @typedef {string | number | boolean | null | undefined} Value */

const MOST_ROWS = 200;

/**
 * Columns and rows, folded under "The table behind it".
 * @param {string[]} columns
 * @param {Value[][]} rows
 * @param {string} caption
 */
export function behind(columns, rows, caption) {
  const folded = h("details", { class: "behind" }, h("summary", {}, "The table behind it ", h("small", {}, `(${counted(rows.length)})`)));
  folded.addEventListener("toggle", () => folded.childElementCount < 2 && folded.append(...table(columns, rows, caption)), { once: true });
  return folded;
}

/**
 * @param {string[]} columns
 * @param {Value[][]} rows
 * @param {string} caption
 * @returns {HTMLElement[]}
 */
export function table(columns, rows, caption) {
  const cells = (/** @type {Value[]} */ row) => row.map((value) => h("td", { class: typeof value === "number" && "n" }, text(value)));
  const grid = h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...columns.map((name) => h("th", { scope: "col" }, h("button", { type: "button" }, name))))),
    h("tbody", {}, ...rows.slice(0, MOST_ROWS).map((row) => h("tr", {}, ...cells(row)))),
  );
  sortable(grid);
  const shown = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `table: ${caption}` }, grid);
  return rows.length > MOST_ROWS ? [shown, h("p", { class: "files" }, `The first ${MOST_ROWS} of ${counted(rows.length)}.`)] : [shown];
}

/**
 * Sort by the column whose heading is pressed, the other way when it is pressed again.
 * @param {HTMLTableElement} grid
 */
export function sortable(grid) {
  for (const button of grid.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const heading = /** @type {HTMLTableCellElement} */ (button.parentElement);
      const falling = heading.getAttribute("aria-sort") === "ascending";
      for (const other of heading.parentElement?.children ?? []) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const body = grid.tBodies[0];
      const order = [...body.rows].sort((a, b) => compared(a, b, heading.cellIndex, falling ? -1 : 1));
      body.append(...order);
    });
  }
}

/**
 * @param {HTMLTableRowElement} a
 * @param {HTMLTableRowElement} b
 * @param {number} place
 * @param {number} sign
 */
function compared(a, b, place, sign) {
  const [one, other] = [a, b].map((row) => value(row.cells[place]));
  if (one === null || other === null) return Number(one === null) - Number(other === null);
  if (typeof one === "number" && typeof other === "number") return sign * (one - other);
  return sign * String(one).localeCompare(String(other), undefined, { numeric: true });
}

/** @param {HTMLTableCellElement} cell */
function value(cell) {
  const shown = (cell.textContent ?? "").trim();
  if (shown === "\u2013") return null;
  const plain = Number(shown.replace("\u2212", "-").replace(/\u202f|,/g, ""));
  return Number.isNaN(plain) ? shown : plain;
}

/** @param {Value} each */
function text(each) {
  if (each === null || each === undefined || each === "") return "\u2013";
  if (typeof each === "boolean") return each ? "yes" : "no";
  return typeof each === "number" ? number(each, 4) : each;
}

/** @param {number} n */
function counted(n) {
  return `${number(n)} ${n === 1 ? "row" : "rows"}`;
}
