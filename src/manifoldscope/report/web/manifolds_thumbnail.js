// The image behind a point, cut out of the one picture that holds all of a network's images.
import { h } from "./dom.js";

const SIDE = 72;
/** @type {Map<string, Promise<HTMLImageElement>>} */
const loaded = new Map();

/**
 * A small image, or nothing where the page holds none.
 * @param {any} data of the view
 * @param {any} network its part of that
 * @param {number} row of the image
 * @returns {HTMLElement}
 */
export function thumbnail(data, network, row) {
  const atlas = network.atlas === null ? null : data.atlases[network.atlas];
  if (!atlas) return h("span");
  const { columns, width, height } = atlas;
  const scale = Math.max(1, Math.floor(SIDE / Math.max(width, height)));
  const canvas = h("canvas", { width: width * scale, height: height * scale, role: "img", "aria-label": "the image" });
  canvas.style.border = "1px solid var(--line)";
  picture(atlas.uri).then((image) => {
    const context = canvas.getContext("2d");
    if (!context) return;
    context.imageSmoothingEnabled = false;
    const [x, y] = [(row % columns) * width, Math.floor(row / columns) * height];
    context.drawImage(image, x, y, width, height, 0, 0, canvas.width, canvas.height);
  });
  return canvas;
}

/** @param {string} uri */
function picture(uri) {
  const known = loaded.get(uri);
  if (known) return known;
  const made = new Promise((/** @type {(image: HTMLImageElement) => void} */ resolve) => {
    const image = new Image();
    image.addEventListener("load", () => resolve(image));
    image.src = uri;
  });
  loaded.set(uri, made);
  return made;
}
