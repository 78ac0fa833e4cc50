// What the page does without any choice: figures are saved, links open what is folded, and paper shows everything.
import { isChoice } from "./address.js";

/** @param {Document} page */
export function pageOf(page) {
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (page.querySelectorAll("button.save"))) {
    button.hidden = false;
    button.addEventListener("click", () => save(button));
  }
  const wide = new ResizeObserver((sizes) => sizes.forEach(({ target }) => reach(/** @type {HTMLElement} */ (target))));
  for (const drawing of page.querySelectorAll(".chart")) wide.observe(drawing);
  addEventListener("hashchange", reveal);
  page.addEventListener("click", keep);
  reveal();
  const contents = /** @type {HTMLDetailsElement | null} */ (page.querySelector("nav details"));
  if (contents && matchMedia("(max-width: 60rem)").matches) contents.open = false;
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
 * What is wider than its place can be scrolled by keyboard, and then has the name of what is drawn in it.
 * @param {HTMLElement} drawing
 */
function reach(drawing) {
  const name = drawing.querySelector("svg")?.getAttribute("aria-label") ?? "figure";
  const wide = { tabindex: "0", role: "group", "aria-label": name };
  for (const [attribute, value] of Object.entries(wide)) {
    if (drawing.scrollWidth > drawing.clientWidth + 1) drawing.setAttribute(attribute, value);
    else drawing.removeAttribute(attribute);
  }
}

/** A link into a folded part opens it. */
function reveal() {
  if (location.hash && !isChoice(location.hash)) show(location.hash);
}

/**
 * A link within the page leaves the choice in the address where it is.
 * @param {MouseEvent} event
 */
function keep(event) {
  const link = event.target instanceof Element ? event.target.closest('a[href^="#"]') : null;
  const place = link?.getAttribute("href") ?? "";
  const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey; // in another tab or window
  if (elsewhere || !isChoice(location.hash) || place.length < 2 || isChoice(place)) return;
  event.preventDefault();
  show(place)?.focus({ preventScroll: true });
}

/**
 * Go to a place of the page, and open what it is folded in.
 * @param {string} place
 * @param {ScrollBehavior} [behavior]
 */
export function show(place, behavior = "auto") {
  const target = document.getElementById(named(place.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part instanceof HTMLDetailsElement) part.open = true;
  target?.scrollIntoView({ behavior });
  if (target && !target.hasAttribute("tabindex") && target.tabIndex < 0) target.setAttribute("tabindex", "-1");
  return target;
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
