// How long rows and their parts are: one histogram for each, on a logarithmic axis.

function histograms() {
  found.histograms.forEach((one, at) => plot(`lengths-${at}`, () => histogramOf(one)));
}

function histogramOf({ edges, counts, limit }) {
  const logs = edges.map(Math.log10);
  const bins = counts.map((count, at) => ({ count, from: edges[at], to: edges[at + 1] - 1 }));
  const decades = logs.at(-1) - logs[0];
  const steps = decades < 1 ? [1, 2, 3, 5] : decades < 3 ? [1, 3] : [1];
  const marks = [];
  for (let power = 1; power <= edges.at(-1); power *= 10) {
    marks.push(...steps.map((step) => power * step));
  }
  const layout = {
    height: 240,
    bargap: 0,
    xaxis: {
      title: { text: "tokens" }, tickvals: marks.map(Math.log10), zeroline: false,
      ticktext: marks.map((mark) => mark < 1000 ? mark : `${mark / 1000}k`),
    },
    yaxis: { rangemode: "tozero", nticks: 5 },
  };
  if (limit && limit < edges.at(-1)) {
    const x = Math.log10(limit);
    layout.shapes = [{
      type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper",
      line: { color: ink("warn"), width: 1.5, dash: "dash" },
    }];
    layout.annotations = [{
      x, y: 1, yref: "paper", yanchor: "bottom", showarrow: false, text: "limit",
      font: { color: ink("warn"), size: 12 },
    }];
    layout.margin = { l: 48, r: 12, t: 24, b: 40 };
  }
  return {
    data: [{
      type: "bar",
      x: counts.map((_, at) => (logs[at] + logs[at + 1]) / 2),
      width: counts.map((_, at) => logs[at + 1] - logs[at]),
      y: counts,
      marker: { color: ink("accent") },
      text: bins.map(({ count, from, to }) =>
        `${from === to ? from : `${from} to ${to}`} tokens: ${count.toLocaleString("en")}`),
      textposition: "none",
      hovertemplate: "%{text}<extra></extra>",
    }],
    layout,
  };
}

// A finger cannot hover, so a tapped part says what it is below its row.
function tapped() {
  for (const row of document.querySelectorAll("details.row")) {
    row.querySelector(".said").addEventListener("click", (event) => {
      const part = event.target.closest(".part");
      if (part) row.querySelector(".about").textContent = part.title;
    });
  }
}
