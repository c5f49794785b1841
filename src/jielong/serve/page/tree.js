/** A conversation is a tree of turns; the path from its first turn to a leaf is what the page shows. */

/** @typedef {Map<string, Turn>} Turns */

/**
 * The turns from the first one to `leaf`; to the newest turn where there is no such leaf.
 *
 * @param {Turns} turns
 * @param {string} leaf
 */
export function pathTo(turns, leaf) {
  let turn = turns.get(leaf) ?? newest([...turns.values()]);
  const path = [];
  while (turn && path.length <= turns.size) {
    path.unshift(turn);
    turn = turns.get(turn.parent);
  }
  return path;
}

/** @param {Turn[]} turns */
function newest(turns) {
  return turns.reduce(
    (best, turn) => (!best || turn.created >= best.created ? turn : best),
    /** @type {Turn | undefined} */ (undefined),
  );
}

/**
 * The turns that stand in the same place, oldest first, this one included.
 *
 * @param {Turns} turns
 * @param {Turn} turn
 */
export function siblings(turns, turn) {
  return [...turns.values()]
    .filter((other) => other.parent === turn.parent && other.role === turn.role)
    .sort((a, b) => a.created - b.created);
}

/**
 * The leaf to show when `turn` is chosen among its siblings: the newest turn below it.
 *
 * @param {Turns} turns
 * @param {Turn} turn
 */
export function leafBelow(turns, turn) {
  let leaf = turn;
  for (;;) {
    const children = [...turns.values()].filter((other) => other.parent === leaf.id);
    const next = newest(children);
    if (!next) return leaf.id;
    leaf = next;
  }
}

/**
 * Whether `leaf` goes on from `from`, so that a page that shows `from` may follow.
 *
 * @param {Turns} turns
 * @param {string} leaf
 * @param {string} from
 */
export function continues(turns, leaf, from) {
  return from === "" || pathTo(turns, leaf).some((turn) => turn.id === from);
}
