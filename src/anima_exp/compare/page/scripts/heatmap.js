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
  const [zmin, zmax] = span(z.flat().filter((value) => value !== null));
  const empty = z.flatMap((line, y) => line.flatMap((value, x) => value === null ? [[x, y]] : []));
  const text = values.map((line, y) => line.map((some, x) => some.length === 0 ? ""
    : `${plain(rows.key)} ${plain(short(rows.levels[y], 60))}<br>${plain(columns.key)} ${
      plain(short(columns.levels[x], 60))}<br>${number(z[y][x])}, mean of ${some.length}`));
  const room = (byId("heat-plot").clientWidth - 180) / columns.levels.length; // of one column
  const longest = Math.max(...columns.levels.map((level) => short(level, 18).length));
  const named = (setting) => ({
    title: { text: plain(setting.key) }, type: "linear", showgrid: false, zeroline: false,
    tickvals: setting.levels.map((_, at) => at), // plotly leaves labels out where they collide
    ticktext: setting.levels.map((level) => plain(short(level, 18))),
    range: [-0.5, setting.levels.length - 0.5],
  });
  return {
    data: [{
      type: "heatmap", z, zmin, zmax, xgap: 2, ygap: 2, hoverongaps: false,
      customdata: text, hovertemplate: "%{customdata}<extra></extra>",
      colorscale: scale(), reversescale: metric.minimize,
      colorbar: {
        thickness: 12, outlinewidth: 0, tickformat: TICKS,
        ...(page.clientWidth < 640 ? { orientation: "h", y: 1.02, yanchor: "bottom" } : {}),
      },
    }, {
      type: "scatter", mode: "text", hoverinfo: "skip",
      ...written(room > 50 ? z : [], [zmin, zmax]),
    }, {
      type: "scatter", mode: "markers", x: empty.map(([x]) => x), y: empty.map(([, y]) => y),
      marker: { symbol: "x-thin", size: 8, line: { width: 1, color: ink("soft") } },
      hovertemplate: "not run<extra></extra>",
    }],
    layout: {
      height: Math.min(Math.max(300, 34 * rows.levels.length + 130), 900),
      xaxis: { ...named(columns), tickangle: 7 * longest < room ? 0 : -40 },
      yaxis: named(rows),
    },
  };
}

// Each number in black or white, whichever is read better on its field.
function written(z, [low, high]) {
  const text = { x: [], y: [], text: [], textfont: { size: 12, color: [] } };
  z.forEach((line, y) => line.forEach((value, x) => {
    if (value === null) return;
    const share = high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) : 0.5;
    text.x.push(x);
    text.y.push(y);
    text.text.push(number(value));
    text.textfont.color.push(readable(along(metric.minimize ? 1 - share : share, 0)));
  }));
  return text;
}
