// Marks at one place stand in a ring around it, so that each can be seen and chosen.

/** Marks that are nearer than this share of their radius are at one place. */
const NEAR = 0.5;

/** The largest radius of a ring, in radii of a mark. */
const WIDEST = 4;

/**
 * How far each mark moves, in its order; [0, 0] where it is alone. `report/paired_plot.py` does the same.
 * @param {[number, number][]} places in pixels
 * @param {number} radius of a mark
 * @returns {[number, number][]}
 */
export function apart(places, radius) {
  const near = NEAR * radius;
  /** @type {Map<string, {x: number, y: number, members: number[]}[]>} by square of the page, as wide as `near` */
  const squares = new Map();
  for (const [i, [x, y]] of places.entries()) {
    const [column, row] = [Math.floor(x / near), Math.floor(y / near)];
    const around = [-1, 0, 1].flatMap((dx) => [-1, 0, 1].flatMap((dy) => squares.get(`${column + dx} ${row + dy}`) ?? []));
    const [found] = around.filter((each) => Math.hypot(each.x - x, each.y - y) < near).sort((a, b) => a.members[0] - b.members[0]);
    if (found) found.members.push(i);
    else squares.set(`${column} ${row}`, [...(squares.get(`${column} ${row}`) ?? []), { x, y, members: [i] }]);
  }
  /** @type {[number, number][]} */
  const moves = places.map(() => [0, 0]);
  for (const { members } of [...squares.values()].flat()) {
    const n = members.length;
    if (n < 2) continue;
    const ring = radius * Math.min(WIDEST, 1.05 / Math.sin(Math.PI / n));
    for (const [k, i] of members.entries()) moves[i] = [-ring * Math.cos((2 * Math.PI * k) / n), -ring * Math.sin((2 * Math.PI * k) / n)];
  }
  return moves;
}
