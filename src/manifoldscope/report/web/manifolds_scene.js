// Points in space: how a rotation shows them, and their drawing by WebGL.
import { ogl } from "./vendor/ogl.js";

/**
 * What is drawn: three coordinates an image, between -1 and 1, clean and attacked; three parts of a colour and a shape.
 * @typedef {{before: Float32Array, after: Float32Array, colours: Float32Array, shapes: number[], reach: number[]}} Cloud
 * How it is looked at: a rotation (rows), a magnification, how far from clean (0) to attacked (1), and the
 * colour behind the points, which is also the edge of each.
 * @typedef {{rotation: number[][], zoom: number, share: number, paths: boolean, ring: number[]}} Look
 * @typedef {{load: (cloud: Cloud) => void, draw: (look: Look) => void, resize: (width: number, height: number) => void,
 *   lost: boolean}} Scene
 */

const PERSPECTIVE = 0.22;
const FILLED = 0.93;

/**
 * Where a point stands: across and upwards, in units of half the shorter side, and how near it is (0 is the middle).
 * @param {Look} look
 * @param {ArrayLike<number>} point
 * @returns {[number, number, number]}
 */
export function placed(look, point) {
  const [x, y, z] = look.rotation.map((row) => row[0] * point[0] + row[1] * point[1] + row[2] * point[2]);
  const near = (look.zoom * FILLED) / (1 - PERSPECTIVE * z);
  return [x * near, y * near, z];
}

/**
 * An image on its way from clean to attacked.
 * @param {Cloud} cloud
 * @param {number} place
 * @param {number} share
 */
export function between(cloud, place, share) {
  return [0, 1, 2].map((k) => {
    const from = cloud.before[3 * place + k];
    return from + share * (cloud.after[3 * place + k] - from);
  });
}

/**
 * The rotation after another, about the axes of the screen: so far to the right, and so far downwards.
 * @param {number[][]} rotation
 * @param {number} right in radians
 * @param {number} down
 */
export function turned(rotation, right, down) {
  const [cx, sx, cy, sy] = [Math.cos(down), Math.sin(down), Math.cos(right), Math.sin(right)];
  const turn = [
    [cy, 0, sy],
    [sx * sy, cx, -sx * cy],
    [-cx * sy, sx, cx * cy],
  ];
  const made = turn.map((row) => [0, 1, 2].map((j) => row.reduce((sum, part, k) => sum + part * rotation[k][j], 0)));
  return orthonormal(made);
}

/**
 * The same rotation without what rounding adds up to.
 * @param {number[][]} rows
 */
function orthonormal([a, b]) {
  const unit = (/** @type {number[]} */ row) => row.map((part) => part / Math.hypot(...row));
  const first = unit(a);
  const along = first.reduce((sum, part, k) => sum + part * b[k], 0);
  const second = unit(b.map((part, k) => part - along * first[k]));
  const third = [0, 1, 2].map((k) => first[(k + 1) % 3] * second[(k + 2) % 3] - first[(k + 2) % 3] * second[(k + 1) % 3]);
  return [first, second, third];
}

/**
 * How the browser draws with WebGL: "fast", "slow" where it does so without a graphics card, or not at all.
 * @returns {"fast" | "slow" | "none"}
 */
export function able() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return "none";
  const known = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(known ? known.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|software|basic render/i.test(name) ? "slow" : "fast";
}

const PLACE = `
precision highp float;
attribute vec3 before;
attribute vec3 after;
attribute vec3 colour;
uniform mat3 rotation;
uniform vec2 fit;
uniform float zoom;
uniform float share;
varying vec3 tint;
vec4 place(float along, out float near) {
  vec3 p = rotation * mix(before, after, along);
  near = 1.0 / (1.0 - ${PERSPECTIVE} * p.z);
  return vec4(p.xy * near * zoom * ${FILLED} * fit, -0.5 * p.z, 1.0);
}`;

const POINTS = `${PLACE}
attribute float shape;
uniform float size;
varying float form;
varying float wide;
void main() {
  float near;
  gl_Position = place(share, near);
  wide = size * near;
  gl_PointSize = wide;
  tint = colour;
  form = shape;
}`;

const MARKS = `
precision highp float;
varying vec3 tint;
varying float form;
varying float wide;
uniform vec3 ring;
float edge(vec2 q) {
  vec2 a = abs(q);
  if (form < 0.5) return length(q) - 0.82;
  if (form < 1.5) return max(a.x, a.y) - 0.72;
  if (form < 2.5) return max(0.87 * a.x + 0.5 * q.y, -q.y) - 0.5;
  if (form < 3.5) return (a.x + a.y - 0.98) * 0.71;
  if (form < 4.5) return max(0.87 * a.x - 0.5 * q.y, q.y) - 0.5;
  return min(max(a.x - 0.3, a.y - 0.9), max(a.y - 0.3, a.x - 0.9));
}
void main() {
  vec2 q = 2.0 * vec2(gl_PointCoord.x, 1.0 - gl_PointCoord.y) - 1.0;
  float soft = 2.0 / wide;
  float d = edge(q);
  float cover = 1.0 - smoothstep(-soft, soft, d);
  if (cover < 0.1) discard;
  vec3 c = mix(tint, ring, smoothstep(-0.2 - soft, -0.2 + soft, d));
  gl_FragColor = vec4(c * cover, cover);
}`;

const LINES = `${PLACE}
attribute float end;
void main() {
  float near;
  gl_Position = place(end * share, near);
  tint = colour;
}`;

const STROKES = `
precision highp float;
varying vec3 tint;
uniform float alpha;
void main() {
  gl_FragColor = vec4(tint * alpha, alpha);
}`;

/**
 * A drawing on a canvas; null where there is no WebGL.
 * @param {HTMLCanvasElement} canvas
 * @returns {Scene | null}
 */
export function scene(canvas) {
  const speed = able();
  if (speed === "none") return null;
  const { Geometry, Mesh, Program, Renderer } = /** @type {any} */ (ogl);
  const dpr = speed === "fast" ? Math.min(devicePixelRatio || 1, 2) : 1;
  const renderer = new Renderer({ canvas, dpr, antialias: speed === "fast", premultipliedAlpha: true });
  const { gl } = renderer;
  const shared = { rotation: { value: new Array(9).fill(0) }, fit: { value: [1, 1] }, zoom: { value: 1 }, share: { value: 0 } };
  const own = { size: { value: 9 }, ring: { value: [1, 1, 1] } };
  const common = { transparent: true, cullFace: false };
  const marks = new Program(gl, { vertex: POINTS, fragment: MARKS, uniforms: { ...shared, ...own }, ...common });
  const strokes = (/** @type {number} */ alpha) =>
    new Program(gl, { vertex: LINES, fragment: STROKES, uniforms: { ...shared, alpha: { value: alpha } }, depthWrite: false, ...common });
  const looks = { paths: strokes(0.4), axes: strokes(0.8) };
  /** @type {any} */
  let parts = null;
  const made = {
    lost: false,
    /** @param {Cloud} cloud */
    load(cloud) {
      for (const part of Object.values(parts ?? {})) part.geometry.remove();
      const attribute = (/** @type {number} */ size, /** @type {ArrayLike<number>} */ data) => ({ size, data: Float32Array.from(data) });
      const { before, after, colours, shapes, reach } = cloud;
      const ends = shapes.flatMap(() => [0, 1]);
      const axes = reach.flatMap((far, k) => [-far, far].flatMap((at) => [0, 1, 2].map((i) => (i === k ? at : 0))));
      const lines = (/** @type {any} */ data, /** @type {any} */ program) =>
        new Mesh(gl, { mode: gl.LINES, program, geometry: new Geometry(gl, data), frustumCulled: false });
      parts = {
        axes: lines({ before: attribute(3, axes), after: attribute(3, axes), colour: attribute(3, axes.map(() => 0.5)), end: attribute(1, [0, 0, 0, 0, 0, 0]) }, looks.axes),
        paths: lines({ before: attribute(3, twice(before)), after: attribute(3, twice(after)), colour: attribute(3, twice(colours)), end: attribute(1, ends) }, looks.paths),
        points: new Mesh(gl, {
          mode: gl.POINTS,
          program: marks,
          geometry: new Geometry(gl, { before: attribute(3, before), after: attribute(3, after), colour: attribute(3, colours), shape: attribute(1, shapes) }),
          frustumCulled: false,
        }),
      };
    },
    /** @param {Look} look */
    draw(look) {
      if (!parts) return;
      const { rotation } = look;
      shared.rotation.value = [0, 1, 2].flatMap((j) => [0, 1, 2].map((i) => rotation[i][j]));
      shared.zoom.value = look.zoom;
      shared.share.value = look.share;
      own.ring.value = look.ring;
      own.size.value = 11 * renderer.dpr * Math.min(1.6, Math.sqrt(look.zoom));
      gl.clearColor(look.ring[0], look.ring[1], look.ring[2], 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      renderer.setViewport(canvas.width, canvas.height);
      parts.axes.draw();
      if (look.paths && look.share > 0) parts.paths.draw();
      parts.points.draw();
    },
    /**
     * @param {number} width
     * @param {number} height
     */
    resize(width, height) {
      renderer.setSize(width, height);
      const side = Math.min(width, height);
      shared.fit.value = [side / width, side / height];
    },
  };
  canvas.addEventListener("webglcontextlost", () => (made.lost = true));
  return made;
}

/**
 * Three numbers a point, each point twice.
 * @param {Float32Array} numbers
 */
function twice(numbers) {
  const found = new Float32Array(2 * numbers.length);
  for (let i = 0; i < numbers.length; i += 3) {
    for (let k = 0; k < 3; k += 1) found[2 * i + k] = found[2 * i + 3 + k] = numbers[i + k];
  }
  return found;
}
