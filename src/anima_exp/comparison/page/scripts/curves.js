// Learning curves: one line per run, coloured by a setting, and where runs were stopped.

let colouring = 0;
let late = false; // the second half only: where runs differ after the steep beginning
const hidden = new Set();

function curves() {
  const select = byId("curves-colour");
  if (!select) return;
  const keys = found.settings.map((setting) => setting.key);
  fill(select, keys);
  select.parentElement.hidden = keys.length === 0;
  // The setting that matters most says most about the lines.
  colouring = found.effects.map((effect) => keys.indexOf(effect.key)).find((at) => at >= 0) ?? 0;
  select.value = colouring;
  select.addEventListener("change", () => {
    colouring = Number(select.value);
    hidden.clear();
    legend();
    redraw("training-plot", "evaluations-plot");
  });
  const steps = byId("curves-steps");
  fill(steps, ["all", "second half"]);
  steps.addEventListener("change", () => {
    late = steps.value === "1";
    redraw("training-plot", "evaluations-plot");
  });
  legend();
  plot("training-plot", () => lines("training", { title: { text: "training loss" } }),
    () => highlight("training"));
  plot("evaluations-plot", () => lines("evaluations", axis()), () => highlight("evaluations"));
}

function groups() {
  const setting = found.settings[colouring];
  if (!setting) return [{ text: "all runs", levels: [null], colour: along(0.7) }];
  const none = { text: "not set", levels: [null], colour: ink("soft") };
  const all = bands(setting);
  return found.runs.some((run) => run.at[colouring] === null) ? [...all, none] : all;
}

function legend() {
  const all = groups();
  byId("curves-levels").replaceChildren(...(all.length < 2 ? [] : all.map((group, at) => {
    const button = element("button");
    const mark = element("i");
    mark.style.background = group.colour;
    button.append(mark, short(group.text, 40));
    button.type = "button";
    button.setAttribute("aria-pressed", !hidden.has(at));
    button.addEventListener("click", () => {
      if (!hidden.delete(at)) hidden.add(at);
      button.setAttribute("aria-pressed", !hidden.has(at));
      redraw("training-plot", "evaluations-plot");
    });
    return button;
  })));
}

function lines(which, yaxis) {
  const drawn = groups().map((group, at) => {
    const runs = found.runs.filter(
      (run) => group.levels.includes(run.at[colouring] ?? null) && run[which][0].length,
    );
    return { ...group, runs: hidden.has(at) ? [] : runs };
  });
  const runs = drawn.flatMap((group) => group.runs);
  const many = runs.length > 40;
  const data = drawn.map((group) => joined(group, which, many));
  data.push(...drawn.map((group) => points(group, which, many)).filter(({ x }) => x.length));
  const stopped = runs.filter((run) => run.stopped);
  data.push({
    type: "scatter", mode: "markers",
    x: stopped.map((run) => run[which][0].at(-1)),
    y: stopped.map((run) => run[which][1].at(-1)),
    text: stopped.map(
      (run) => `${plain(run.name)}<br>stopped early: ${plain(short(run.stopped, 60))}`,
    ),
    hovertemplate: "%{text}<extra></extra>",
    marker: { symbol: "x-thin", size: 9, line: { width: 2, color: ink("warn") } },
  });
  const last = Math.max(...runs.map((run) => run[which][0].at(-1)));
  const from = late ? last / 2 : 0;
  const values = runs.flatMap((run) => run[which][1].filter((_, at) => run[which][0][at] >= from));
  const xaxis = { title: { text: "step" }, range: late ? [from, last] : null };
  return { data, layout: { xaxis, yaxis: { ...yaxis, range: reach(values) } } };
}

// All lines of one colour are one trace with gaps: hundreds of traces would be slow.
function joined(group, which, many) {
  const [x, y, text, customdata] = [[], [], [], []];
  for (const run of group.runs) {
    const number = found.runs.indexOf(run);
    const name = plain(run.name) + (run.label ? `<br>${plain(short(run.label, 80))}` : "");
    x.push(...run[which][0], null);
    y.push(...run[which][1], null);
    for (let at = 0; at <= run[which][0].length; at += 1) {
      text.push(name);
      customdata.push(number);
    }
  }
  return {
    type: "scatter", x, y, text, customdata, connectgaps: false,
    mode: which === "evaluations" && !many ? "lines+markers" : "lines",
    line: { color: group.colour, width: many ? 1 : 1.75 },
    marker: { size: 4 }, opacity: many ? 0.55 : 0.9,
    hovertemplate: `%{text}<br>step %{x}: %{y:${
      which === "evaluations" ? `${FORMAT}}${share ? "" : metric.unit}` : ".4f}"}<extra></extra>`,
  };
}

// A run with a single point has no line. A trace of its own marks such points only, because markers
// on every point of hundreds of lines would be slow.
function points(group, which, many) {
  const runs = group.runs.filter((run) => run[which][0].length === 1);
  return {
    ...joined({ ...group, runs }, which, many), mode: "markers",
    marker: { size: 6, color: group.colour },
  };
}

// A run that diverged must not flatten all others; a double click shows everything.
function reach(values) {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length < 2) return null;
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
  const wide = 4 * (at(0.95) - at(0.5));
  const top = wide > 0 && sorted.at(-1) > at(0.5) + wide ? at(0.98) : sorted.at(-1);
  const gap = 0.05 * (top - sorted[0]) || 0.01;
  return [sorted[0] - gap, top + gap];
}
