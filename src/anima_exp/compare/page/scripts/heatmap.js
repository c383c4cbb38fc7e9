// The metric over two settings: the mean over all others; a pair never run stays empty.

function heatmap() {
  const [row, column] = [byId("heat-row"), byId("heat-column")];
  if (!row) return;
  const keys = found.settings.map((setting) => setting.key);
  const matters = found.effects.map((effect) => keys.indexOf(effect.key)).filter((at) => at >= 0);
  const [first = 0, second = first === 0 ? 1 : 0] = matters;
  fill(row, keys, second);
  fill(column, keys, first);
  for (const [changed, other] of [[row, column], [column, row]]) {
    let before = changed.value;
    const remember = () => { before = changed.value; };
    changed.addEventListener("focus", remember);
    changed.addEventListener("change", () => {
      if (changed.value === other.value) other.value = before; // a setting against itself: swap
      remember();
      redraw("heat-plot");
    });
  }
  plot("heat-plot", () => pairs(Number(row.value), Number(column.value)));
}

function pairs(row, column) {
  const [rows, columns] = [found.settings[row], found.settings[column]];
  const values = rows.levels.map(() => columns.levels.map(() => []));
  for (const cell of found.cells) {
    if (cell.mean === null || cell.at[row] === null || cell.at[column] === null) continue;
    values[cell.at[row]][cell.at[column]].push(cell.mean);
  }
  const z = values.map((line) => line.map((some) => some.length ? mean(some) : null));
  const empty = z.flatMap((line, y) => line.flatMap((value, x) => value === null ? [[x, y]] : []));
  const text = values.map((line, y) => line.map((some, x) => some.length === 0 ? ""
    : `${plain(rows.key)} ${plain(short(rows.levels[y], 60))}<br>${plain(columns.key)} ${
      plain(short(columns.levels[x], 60))}<br>${number(z[y][x])}, mean of ${some.length}`));
  const roomy = columns.levels.length * 62 < byId("heat-plot").clientWidth - 140;
  const named = (setting) => ({
    title: { text: plain(setting.key) }, showgrid: false, zeroline: false,
    tickvals: setting.levels.map((_, at) => at), // plotly leaves labels out where they collide
    ticktext: setting.levels.map((level) => plain(short(level, 18))),
    range: [-0.5, setting.levels.length - 0.5],
  });
  return {
    data: [{
      type: "heatmap", z, xgap: 2, ygap: 2, hoverongaps: false,
      customdata: text, hovertemplate: "%{customdata}<extra></extra>",
      texttemplate: roomy ? `%{z:${FORMAT}}` : "",
      colorscale: scale(), reversescale: metric.minimize,
      colorbar: {
        thickness: 12, outlinewidth: 0, tickformat: TICKS,
        ...(page.clientWidth < 640 ? { orientation: "h", y: 1.02, yanchor: "bottom" } : {}),
      },
    }, {
      type: "scatter", mode: "markers", x: empty.map(([x]) => x), y: empty.map(([, y]) => y),
      marker: { symbol: "x-thin", size: 8, line: { width: 1, color: ink("soft") } },
      hovertemplate: "not run<extra></extra>",
    }],
    layout: {
      height: Math.min(Math.max(300, 34 * rows.levels.length + 130), 900),
      xaxis: { ...named(columns), type: "linear" },
      yaxis: { ...named(rows), type: "linear" },
    },
  };
}
