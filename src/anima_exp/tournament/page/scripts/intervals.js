// Players below each other, each with its interval; a hollow mark for a second rating.

const UNIT = { ratings: "", percents: " %" };

function intervals() {
  for (const [name, rows] of Object.entries(found.intervals)) {
    plot(`${name}-plot`, () => reaches(name, rows));
  }
}

function reaches(name, rows) {
  const places = rows.map((_, at) => rows.length - 1 - at); // the best on top
  const digits = name === "percents" ? 1 : 0;
  const written = (value) => value.toFixed(digits) + UNIT[name];
  const narrow = byId(`${name}-plot`).clientWidth < 500;
  const data = [{
    type: "scatter", mode: "markers", x: rows.map((row) => row.mean), y: places,
    error_x: {
      type: "data", symmetric: false, thickness: 1.75, width: 5, color: ink("accent"),
      array: rows.map((row) => row.high - row.mean),
      arrayminus: rows.map((row) => row.mean - row.low),
    },
    marker: { color: ink("accent"), size: 9 },
    text: rows.map((row) => `${plain(short(row.name, 60))}<br>${written(row.mean)}, ${
      written(row.low)} to ${written(row.high)}`),
    hovertemplate: "%{text}<extra></extra>",
  }];
  if (name === "ratings") {
    data.push({
      type: "scatter", mode: "markers", x: rows.map((row) => row.other), y: places,
      marker: { color: ink("warn"), size: 10, symbol: "diamond-open", line: { width: 2 } },
      text: rows.map((row) => `${plain(short(row.name, 60))}<br>Elo ${
        row.other.toFixed(1)}; one order ± ${row.spread.toFixed(0)}`),
      hovertemplate: "%{text}<extra></extra>",
    });
  }
  const title = name === "percents" ? `% of ${plain(short(found.reference, 40))}'s score` : "rating";
  return {
    data,
    layout: {
      height: Math.max(200, 30 * rows.length + 80),
      xaxis: { title: { text: title }, zeroline: false, nticks: narrow ? 4 : 9 },
      yaxis: {
        tickvals: places, ticktext: rows.map((row) => plain(short(row.name, narrow ? 16 : 32))),
        range: [-0.6, rows.length - 0.4], showgrid: false, zeroline: false,
      },
    },
  };
}
