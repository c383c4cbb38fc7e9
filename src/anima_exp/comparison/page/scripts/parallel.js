// Parallel coordinates from ordinary lines (plotly's own need WebGL, which phones may lack).

const BEST = 0.1; // the share of cells drawn strongly

function parallel() {
  plot("parallel-plot", () => {
    const ranked = found.paths.map((rank) => found.cells[rank]); // from best to worst
    const settings = found.settings.map((setting, at) => ({ ...setting, at }))
      .filter((setting) => setting.levels.length > 1);
    const spread = places(ranked, settings);
    const [low, high] = span(ranked.map((cell) => cell.mean));
    const cut = ranked.some((cell) => cell.mean < low || cell.mean > high);
    // The better end is on top, what lies far below stands at the bottom.
    const height = (value) => high === low ? 0.5
      : Math.max(metric.minimize ? (high - value) / (high - low) : (value - low) / (high - low), 0);
    const steps = 6;
    const bins = Array.from({ length: steps + 1 }, () => []);
    ranked.forEach((cell, rank) => {
      const share = rank / ranked.length;
      const bin = share < BEST ? steps : Math.floor((1 - share) / (1 - BEST) * (steps - 0.001));
      bins[rank === 0 ? steps : Math.min(bin, steps)].push(rank);
    });
    const data = bins.map((ranks, bin) => {
      const [x, y, text] = [[], [], []];
      for (const rank of ranks) {
        const cell = ranked[rank];
        settings.forEach((setting, at) => { x.push(at); y.push(spread[rank][at]); });
        x.push(settings.length, null);
        y.push(height(cell.mean), null);
        const told = `${plain(short(cell.label, 80))}<br>${interval(cell)}`;
        for (let at = 0; at < settings.length + 2; at += 1) text.push(told);
      }
      const strong = bin === steps;
      return {
        type: "scatter", mode: "lines", x, y, text, connectgaps: false,
        hovertemplate: "%{text}<extra></extra>",
        line: {
          color: strong ? categories()[1] : along(bin / steps),
          width: strong ? 2.25 : 1, shape: "spline", smoothing: 0.6,
        },
        opacity: strong ? 1 : ranked.length > 150 ? 0.35 : 0.6,
      };
    });
    return { data, layout: axes(settings, [low, high], cut) };
  });
}

// Where each cell crosses each axis: cells of one level stand side by side, the better above.
function places(ranked, settings) {
  const spread = ranked.map(() => []);
  settings.forEach((setting, at) => {
    const steps = setting.levels.length + 1; // one more for cells without this setting
    const hasNone = ranked.some((cell) => cell.at[setting.at] === null);
    const count = hasNone ? steps : steps - 1;
    for (let level = 0; level < count; level += 1) {
      const same = ranked.flatMap(
        (cell, rank) => (cell.at[setting.at] ?? steps - 1) === level ? [rank] : [],
      );
      same.forEach((rank, place) => {
        const shift = same.length > 1 ? 0.5 - place / (same.length - 1) : 0;
        spread[rank][at] = (level + 0.5 + 0.6 * shift) / count;
      });
    }
    setting.count = count;
  });
  return spread;
}

function axes(settings, [low, high], cut) {
  const label = (x, y, text, where) => ({
    x, y, text: plain(text), showarrow: false, font: { size: 12, color: ink("soft") }, ...where,
  });
  const head = (x, text) => label(x, 1.04, text, {
    yanchor: "bottom", font: { size: 13, color: ink("ink") },
  });
  // A head may be as long as the way to the next axis, of which half lies on each side.
  const room = (byId("parallel-plot").clientWidth - 208) / settings.length;
  const headed = Math.max(Math.floor(room / 7.5) - 1, 6);
  const notes = settings.flatMap((setting, at) => {
    const every = Math.ceil(setting.count / 14);
    const names = [...setting.levels, "not set"].slice(0, setting.count);
    return [
      head(at, short(setting.short, headed)),
      ...names.flatMap((name, level) => level % every ? [] : [
        label(at, (level + 0.5) / setting.count, short(name, at ? Math.min(headed - 1, 18) : 16), {
          xanchor: "right", xshift: -6, bgcolor: ink("card"), opacity: 0.92,
        }),
      ]),
    ];
  });
  const last = settings.length;
  notes.push(head(last, short(metric.name, headed)));
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const value = metric.minimize ? high - part * (high - low) : low + part * (high - low);
    const beyond = part > 0 || !cut ? "" : metric.minimize ? "from " : "to ";
    notes.push(label(last, part, beyond + number(value), { xanchor: "left", xshift: 6 }));
  }
  const bar = (x) => ({
    type: "line", x0: x, x1: x, y0: 0, y1: 1, layer: "below",
    line: { color: ink("line"), width: 1.5 },
  });
  return {
    height: 440,
    margin: { l: 120, r: 88, t: 4, b: 10 },
    annotations: notes,
    shapes: [...settings, 0].map((_, at) => bar(at)),
    xaxis: { visible: false, range: [-0.02, last + 0.02], fixedrange: true },
    yaxis: { visible: false, range: [-0.03, 1.1], fixedrange: true },
  };
}
