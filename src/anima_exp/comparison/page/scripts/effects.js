// Main effects: the mean at each level of a setting, with its interval; a dot for each cell where
// nearly every cell has a level of its own.

function effects() {
  found.settings.forEach((setting, at) => plot(`scatter-${at}`, () => dots(setting, at)));
  const every = found.effects.flatMap((effect) => effect.levels.flatMap(
    (level) => [level.low ?? level.mean, level.high ?? level.mean],
  ));
  const [low, high] = [Math.min(...every), Math.max(...every)];
  const gap = 0.08 * (high - low) || 0.01;
  found.effects.forEach((effect, at) => {
    // One scale for all, or a setting that does nothing would look like one that does.
    plot(`effect-${at}`, () => levelMeans(`effect-${at}`, effect, [low - gap, high + gap]));
  });
}

// Numbers run from left to right; names stand below each other, where they have room.
function levelMeans(id, effect, range) {
  const levels = effect.ordered ? effect.levels : [...effect.levels].reverse();
  const [along, across] = effect.ordered ? ["x", "y"] : ["y", "x"];
  const room = byId(id).clientWidth - 60;
  const longest = Math.max(...levels.map((level) => level.text.length));
  const names = effect.ordered ? room / (7 * longest + 10) : 12; // as many as are readable
  const every = Math.ceil(levels.length / Math.max(names, 1));
  const ticks = levels.map((_, at) => at).filter((at) => at % every === 0);
  return {
    data: [{
      type: "scatter", mode: effect.ordered ? "lines+markers" : "markers",
      [along]: levels.map((_, at) => at),
      [across]: levels.map((level) => level.mean),
      [`error_${across}`]: {
        type: "data", symmetric: false, thickness: 1.75, width: 5, color: ink("accent"),
        array: levels.map((level) => level.high === null ? 0 : level.high - level.mean),
        arrayminus: levels.map((level) => level.low === null ? 0 : level.mean - level.low),
      },
      line: { color: ink("line"), width: 2 },
      marker: { color: ink("accent"), size: 8 },
      text: levels.map((level) => `${plain(short(level.text, 60))}<br>${interval(level)}<br>${
        level.n} run${level.n === 1 ? "" : "s"}`),
      hovertemplate: "%{text}<extra></extra>",
    }],
    layout: {
      height: 230,
      margin: { l: 48, r: 8, t: 8, b: 30 },
      [`${along}axis`]: {
        tickvals: ticks, ticktext: ticks.map((at) => plain(short(levels[at].text, 18))),
        tickfont: { size: 12 }, range: [-0.5, levels.length - 0.5], zeroline: false,
        showgrid: !effect.ordered, tickangle: 0,
      },
      [`${across}axis`]: { ...axis(), title: undefined, range, nticks: 5 },
    },
  };
}

function dots(setting, at) {
  const cells = found.cells.filter((cell) => cell.at[at] !== null);
  const numbers = setting.numbers ?? setting.levels.map((_, level) => level);
  const logarithmic = numbers[0] > 0 && numbers.at(-1) > 20 * numbers[0];
  const [low, high] = span(cells.map((cell) => cell.mean));
  const gap = 0.08 * (high - low) || 0.01;
  // An arrow at the edge stands for what lies beyond it.
  const symbol = (cell) => cell.mean > high ? "triangle-up"
    : cell.mean < low ? "triangle-down" : "circle";
  return {
    data: [{
      type: "scatter", mode: "markers",
      x: cells.map((cell) => numbers[cell.at[at]]),
      y: cells.map((cell) => Math.min(Math.max(cell.mean, low), high)),
      text: cells.map((cell) => `${plain(short(cell.label, 80))}<br>${interval(cell)}`),
      hovertemplate: "%{text}<extra></extra>",
      marker: { color: ink("accent"), size: 7, opacity: 0.75, symbol: cells.map(symbol) },
    }],
    layout: {
      height: 230,
      margin: { l: 48, r: 8, t: 8, b: 30 },
      xaxis: {
        showgrid: false, zeroline: false, nticks: 5,
        ...(logarithmic ? { type: "log", dtick: 1, exponentformat: "power" } : {}),
      },
      yaxis: { ...axis(), title: undefined, range: [low - gap, high + gap], nticks: 5 },
    },
  };
}
