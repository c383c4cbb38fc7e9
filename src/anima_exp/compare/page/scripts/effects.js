// Main effects: the mean at each level of a setting, with its interval.

function effects() {
  const every = found.effects.flatMap((effect) => effect.levels.flatMap(
    (level) => [level.low ?? level.mean, level.high ?? level.mean],
  ));
  const [low, high] = [Math.min(...every), Math.max(...every)];
  const gap = 0.08 * (high - low) || 0.01;
  found.effects.forEach((effect, at) => {
    // One scale for all, or a setting that does nothing would look like one that does.
    plot(`effect-${at}`, () => levelMeans(effect, [low - gap, high + gap]));
  });
}

function levelMeans(effect, range) {
  const levels = effect.levels;
  const every = Math.ceil(levels.length / 8); // more tick labels would not be readable
  const ticks = levels.map((_, at) => at).filter((at) => at % every === 0);
  return {
    data: [{
      type: "scatter", mode: effect.ordered ? "lines+markers" : "markers",
      x: levels.map((_, at) => at),
      y: levels.map((level) => level.mean),
      error_y: {
        type: "data", symmetric: false, thickness: 1.75, width: 5, color: ink("accent"),
        array: levels.map((level) => level.high === null ? 0 : level.high - level.mean),
        arrayminus: levels.map((level) => level.low === null ? 0 : level.mean - level.low),
      },
      line: { color: ink("line"), width: 2 },
      marker: { color: ink("accent"), size: 9 },
      text: levels.map((level) => `${plain(short(level.text, 60))}<br>${interval(level)}<br>${
        level.n} run${level.n === 1 ? "" : "s"}`),
      hovertemplate: "%{text}<extra></extra>",
    }],
    layout: {
      height: 230,
      margin: { l: 48, r: 8, t: 8, b: 30 },
      xaxis: {
        tickvals: ticks, ticktext: ticks.map((at) => plain(short(levels[at].text, 14))),
        range: [-0.5, levels.length - 0.5], showgrid: false, zeroline: false,
      },
      yaxis: { ...axis(), title: undefined, range, nticks: 5 },
    },
  };
}
