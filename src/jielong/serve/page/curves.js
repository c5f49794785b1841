/**
 * Curves as SVG: axes, a faint line of all points with a running mean before it, a cursor that tells the values under the
 * pointer or, by arrow keys, at the next step. A chart is drawn anew when its width changes, so its letters keep their size.
 */

import { fill, h, svg } from "./dom.js";
import { short } from "./format.js";
import { t } from "./strings.js";

const BOX = { height: 230, left: 54, right: 12, top: 12, bottom: 28 };
/** More points than this become a faint line with a mean before it. */
const MANY = 40;

/** @typedef {{ name: string, points: Points }} Series */
/** @typedef {{ low: number, high: number, to: (value: number) => number, ticks: number[] }} Axis */

/**
 * Round numbers, 1, 2 or 5 times a power of ten apart, from `low` to `high`.
 *
 * @param {number} low
 * @param {number} high
 * @param {number} [count]
 */
function ticks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((one) => one >= rough * 0.999) ?? rough;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** @param {number} low @param {number} high */
function powers(low, high) {
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += 1) {
    for (const m of [1, 2, 5]) if (m * 10 ** e >= low * 0.999 && m * 10 ** e <= high * 1.001) found.push(m * 10 ** e);
  }
  return found.length > 7 ? found.filter((value) => Number.isInteger(Math.log10(value))) : found;
}

/**
 * Each point's mean over its neighbours: as many on either side, but at the ends of the curve never fewer than half.
 *
 * @param {Points} points
 */
function runningMean(points) {
  const reach = Math.max(2, Math.floor(points.length / 50));
  return /** @type {Points} */ (
    points.map(([x], i) => {
      const n = Math.max(Math.min(reach, i, points.length - 1 - i), Math.ceil(reach / 2));
      const near = points.slice(Math.max(0, i - n), i + n + 1);
      return [x, near.reduce((sum, [, y]) => sum + y, 0) / near.length];
    })
  );
}

/**
 * At most about `width` of the points: the highest and the lowest of each stretch.
 *
 * @param {Points} points
 * @param {number} width
 */
function thinned(points, width) {
  const stretch = Math.ceil(points.length / (width / 2));
  if (stretch <= 2) return points;
  /** @type {Points} */
  const kept = [];
  for (let i = 0; i < points.length; i += stretch) {
    const part = points.slice(i, i + stretch).toSorted((a, b) => a[1] - b[1]);
    kept.push(...[part[0], part[part.length - 1]].sort((a, b) => a[0] - b[0]));
  }
  return kept;
}

/** A chart that can take new points while it is shown. */
export class Chart {
  /**
   * @param {string} title
   * @param {Series[]} series
   */
  constructor(title, series) {
    this.title = title;
    this.series = series;
    this.is_log = false;
    this.at = -1;
    this.width = 420;
    this.legend = h("span", { class: "chart-legend" });
    this.log = h(
      "button",
      { type: "button", class: "chart-log", "aria-pressed": "false", onclick: () => this.toggleLog() },
      "log",
    );
    this.log.title = t("chart.log");
    this.plot = svg("svg", { tabindex: 0, role: "img" });
    this.told = h("output", { class: "chart-told" });
    this.element = h(
      "figure",
      { class: "chart" },
      h("figcaption", {}, h("b", {}, title), this.legend, this.log),
      this.plot,
      this.told,
    );
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.show(-1));
    this.plot.addEventListener("blur", () => this.show(-1));
    this.plot.addEventListener("keydown", (event) => this.step(event));
    this.draw();
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width === 0 || contentRect.width === this.width) return;
      this.width = contentRect.width;
      this.draw();
    }).observe(this.plot);
  }

  /** @param {Series[]} series */
  update(series) {
    this.series = series;
    this.draw();
  }

  toggleLog() {
    this.is_log = !this.is_log;
    this.log.setAttribute("aria-pressed", String(this.is_log));
    this.draw();
  }

  /** The points that can be drawn: finite ones, and positive ones on a logarithmic axis. */
  get drawn() {
    return this.series.map(({ name, points }) => ({
      name,
      points: /** @type {Points} */ (
        points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y) && (!this.is_log || y > 0))
      ),
    }));
  }

  draw() {
    const all = this.drawn.flatMap((series) => series.points);
    this.log.hidden = !this.series.some((series) => series.points.some(([, y]) => y > 0));
    fill(
      this.legend,
      ...(this.series.length > 1
        ? this.series.map((one, i) => h("span", {}, h("i", { class: `c${i + 1}` }), one.name))
        : []),
    );
    if (all.length === 0) return fill(this.plot);
    this.x = axis(
      all.map(([x]) => x),
      BOX.left,
      this.width - BOX.right,
      false,
    );
    this.y = axis(
      all.map(([, y]) => y),
      BOX.height - BOX.bottom,
      BOX.top,
      this.is_log,
    );
    const last = this.drawn.map(
      ({ name, points }) => `${name} ${points.length ? short(points[points.length - 1][1]) : "–"}`,
    );
    this.plot.setAttribute("aria-label", t("chart.label", { title: this.title, last: last.join(", ") }));
    this.cursor = svg("g", { class: "cursor" });
    fill(
      this.plot,
      this.grid(this.x, this.y),
      ...this.drawn.flatMap((series, i) => this.lines(series, i)),
      this.cursor,
    );
    this.show(this.at);
  }

  /** @param {Axis} x @param {Axis} y */
  grid(x, y) {
    const bottom = BOX.height - BOX.bottom;
    const right = this.width - BOX.right;
    return svg(
      "g",
      {},
      ...y.ticks.map((value) =>
        svg("line", { class: "grid", x1: BOX.left, x2: right, y1: y.to(value), y2: y.to(value) }),
      ),
      ...y.ticks.map((value) =>
        svg("text", { x: BOX.left - 8, y: y.to(value) + 4, "text-anchor": "end" }, short(value)),
      ),
      ...x.ticks.map((value) => svg("text", { x: x.to(value), y: bottom + 20, "text-anchor": "middle" }, short(value))),
      svg("line", { class: "axis", x1: BOX.left, x2: right, y1: bottom, y2: bottom }),
    );
  }

  /** @param {Series} series @param {number} i */
  lines({ points }, i) {
    const colour = `c${i + 1}`;
    if (points.length <= MANY) return [this.line(points, `line ${colour}`)];
    return [
      this.line(thinned(points, this.width), `faint ${colour}`),
      this.line(thinned(runningMean(points), this.width), `line ${colour}`),
    ];
  }

  /** @param {Points} points @param {string} kind */
  line(points, kind) {
    const { x, y } = /** @type {{ x: Axis, y: Axis }} */ (this);
    return svg("polyline", {
      class: kind,
      points: points.map(([px, py]) => `${x.to(px).toFixed(1)},${y.to(py).toFixed(1)}`).join(" "),
    });
  }

  // The cursor --------------------------------------------------------------------------------------------------------

  /** The steps that the cursor may stand on. */
  get steps() {
    return this.drawn.reduce(
      (longest, one) => (one.points.length > longest.length ? one.points : longest),
      /** @type {Points} */ ([]),
    );
  }

  /** @param {PointerEvent} event */
  point(event) {
    const { steps } = this;
    if (!this.x || steps.length === 0) return;
    const place = event.clientX - this.plot.getBoundingClientRect().left;
    let best = 0;
    for (let i = 1; i < steps.length; i += 1) {
      if (Math.abs(this.x.to(steps[i][0]) - place) < Math.abs(this.x.to(steps[best][0]) - place)) best = i;
    }
    this.show(best);
  }

  /** @param {KeyboardEvent} event */
  step(event) {
    const last = this.steps.length - 1;
    const stride = event.shiftKey ? Math.max(1, Math.round(last / 20)) : 1;
    const next = { ArrowRight: this.at + stride, ArrowLeft: this.at - stride, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.show(Math.min(Math.max(next, 0), last));
  }

  /** @param {number} at  which step the cursor stands on; -1 for none, when the last values are told */
  show(at) {
    this.at = at;
    const step = this.steps[at] ?? this.steps.at(-1);
    const { x, y, cursor } = this;
    if (!cursor || !x || !y || !step) return;
    const values = this.drawn.map(({ name, points }, i) => ({ name, i, value: at_or_before(points, step[0]) }));
    const found = values.filter((one) => one.value !== undefined);
    this.told.textContent = [
      t("chart.step", { n: step[0] }),
      ...found.map(({ name, value }) => `${name} ${short(Number(value))}`),
    ].join(" · ");
    if (at < 0) return fill(cursor);
    fill(
      cursor,
      svg("line", { class: "axis", x1: x.to(step[0]), x2: x.to(step[0]), y1: BOX.top, y2: BOX.height - BOX.bottom }),
      ...found.map(({ i, value }) =>
        svg("circle", { class: `dot c${i + 1}`, cx: x.to(step[0]), cy: y.to(Number(value)), r: 4 }),
      ),
    );
  }
}

/** @param {Points} points @param {number} x */
function at_or_before(points, x) {
  return points.findLast(([px]) => px <= x)?.[1];
}

/**
 * @param {number[]} values
 * @param {number} from where the lowest value lies in the box
 * @param {number} to
 * @param {boolean} is_log
 * @returns {Axis}
 */
function axis(values, from, to, is_log) {
  let low = values.reduce((a, b) => Math.min(a, b));
  let high = values.reduce((a, b) => Math.max(a, b));
  if (low === high) [low, high] = is_log ? [low / 2, high * 2] : [low - 1, high + 1];
  const scale = is_log ? Math.log10 : Number;
  const margin = (scale(high) - scale(low)) * (from > to ? 0.05 : 0); // the y axis runs upwards and gets some air
  const first = scale(low) - margin;
  const length = scale(high) - scale(low) + 2 * margin;
  return {
    low,
    high,
    to: (value) => from + ((scale(value) - first) / length) * (to - from),
    ticks: is_log ? powers(low, high) : ticks(low, high),
  };
}
