// What the page does without any choice: figures are saved, links open what is folded, and paper shows everything.
import { isChoice } from "./choice.js";

/** @param {Document} page */
export function pageOf(page) {
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (page.querySelectorAll("button.save"))) {
    button.hidden = false;
    button.addEventListener("click", () => save(button));
  }
  const wide = new ResizeObserver((sizes) => sizes.forEach(({ target }) => reach(/** @type {HTMLElement} */ (target))));
  for (const drawing of page.querySelectorAll(".chart")) wide.observe(drawing);
  addEventListener("hashchange", reveal);
  reveal();
  addEventListener("beforeprint", () => {
    for (const part of /** @type {NodeListOf<HTMLDetailsElement>} */ (page.querySelectorAll("details.more"))) part.open = true;
  });
}

/**
 * Save a figure as it stands in the page, so that the page alone is enough.
 * @param {HTMLButtonElement} button
 */
function save(button) {
  const drawing = button.closest("figure")?.querySelector("svg");
  if (!drawing) return;
  const text = new XMLSerializer().serializeToString(drawing);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  link.download = `${button.dataset.name}.svg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/**
 * What is wider than its place can be scrolled by keyboard.
 * @param {HTMLElement} drawing
 */
function reach(drawing) {
  if (drawing.scrollWidth > drawing.clientWidth + 1) drawing.tabIndex = 0;
  else drawing.removeAttribute("tabindex");
}

/** A link into a folded part opens it. */
function reveal() {
  if (!location.hash || isChoice(location.hash)) return;
  const target = document.getElementById(named(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part instanceof HTMLDetailsElement) part.open = true;
  target?.scrollIntoView();
}

/**
 * The text of an address; one that is written wrongly, as it is.
 * @param {string} text
 */
function named(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
