"use strict";
// Sort a table by the column whose heading is pressed.
const value = (cell) => {
  const text = cell.textContent.trim();
  const number = Number(text.replace("\u2212", "-").replace(/\u202f/g, ""));
  return text === "–" ? null : Number.isNaN(number) ? text : number;
};
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement, table = heading.closest("table"), body = table.tBodies[0];
    const falling = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const place = heading.cellIndex, sign = falling ? -1 : 1;
    const compare = (a, b) => {
      const one = value(a.cells[place]), two = value(b.cells[place]);
      if (one === null || two === null) return (one === null) - (two === null);
      if (typeof one === "number" && typeof two === "number") return sign * (one - two);
      return sign * String(one).localeCompare(String(two), undefined, { numeric: true });
    };
    body.append(...Array.from(body.rows).sort(compare));
  });
}
// Save a figure as it stands in the page, so that the page alone is enough.
for (const button of document.querySelectorAll("button.save")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const figure = new XMLSerializer().serializeToString(button.closest("figure").querySelector("svg"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([figure], { type: "image/svg+xml" }));
    link.download = button.dataset.name + ".svg";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
// A link into a folded part opens it; figures are unfolded on paper.
const reveal = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  if (target) target.scrollIntoView();
};
addEventListener("hashchange", reveal);
if (location.hash) reveal();
addEventListener("beforeprint", () => document.querySelectorAll("details.more").forEach((part) => { part.open = true; }));
