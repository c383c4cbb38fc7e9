// Numbers in rows and columns -> a heat map: each place in its colour, with its number where that
// has room; a cross where there is none.

// `told` writes a number, `hover` says what it is; `crossed` tells which empty places are marked,
// `missing` why they are empty. Rows go upwards, as the values of a setting do.
function field(id, {
  rows, columns, values, ends: [low, high], stops, told, hover, missing,
  crossed = () => true, downwards = false,
}) {
  const room = (byId(id).clientWidth - 180) / columns.length; // of one column
  const longest = (texts) => 7 * Math.max(...texts.map((text) => text.length)); // in pixels
  const labels = { x: [], y: [], text: [], textfont: { size: 12, color: [] } };
  const crosses = { x: [], y: [] };
  values.forEach((line, y) => line.forEach((value, x) => {
    const marks = value !== null ? labels : crossed(x, y) ? crosses : { x: [], y: [] };
    marks.x.push(x);
    marks.y.push(y);
    if (value === null) return;
    labels.text.push(told(value));
    const share = high > low ? (value - low) / (high - low) : 0.5;
    labels.textfont.color.push(readable(between(stops, share)));
  }));
  const named = (texts) => ({
    type: "linear", showgrid: false, zeroline: false,
    tickvals: texts.map((_, at) => at), // plotly leaves labels out where they collide
    ticktext: texts.map((text) => plain(short(text, 18))),
    range: [-0.5, texts.length - 0.5],
  });
  const yaxis = named(rows);
  if (downwards) yaxis.range.reverse();
  return {
    data: [{
      type: "heatmap", z: values, zmin: low, zmax: high, xgap: 2, ygap: 2, hoverongaps: false,
      colorscale: stops, showscale: false,
      customdata: values.map((line, y) => line.map((value, x) => value === null ? ""
        : hover(x, y, told(value)))),
      hovertemplate: "%{customdata}<extra></extra>",
    }, {
      type: "scatter", mode: "text", hoverinfo: "skip",
      ...(room > longest(labels.text) + 6 ? labels : { x: [], y: [] }),
    }, {
      type: "scatter", mode: "markers", ...crosses, hovertemplate: `${missing}<extra></extra>`,
      marker: { symbol: "x-thin", size: 8, line: { width: 1, color: ink("soft") } },
    }],
    layout: {
      height: 34 * rows.length + 120,
      xaxis: {
        ...named(columns),
        tickangle: longest(columns.map((text) => short(text, 18))) < room ? 0 : -40,
      },
      yaxis,
    },
  };
}
