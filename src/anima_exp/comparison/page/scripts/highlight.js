// The whole line of the run under the pointer, above all others.
function highlight(which) {
  const place = byId(`${which}-plot`);
  const clear = () => place.querySelector(".chosen-run")?.remove();
  place.on("plotly_unhover", clear);
  place.on("plotly_hover", ({ points: [{ customdata, xaxis, yaxis }] }) => {
    clear();
    const run = found.runs[customdata];
    if (!run) return;
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const height = (value) => Math.min(Math.max(yaxis.d2p(value), 0), yaxis._length);
    const steps = run[which][0].map((step, at) => [xaxis.d2p(step), height(run[which][1][at])])
      .filter(([x]) => x >= 0);
    const corners = steps.map(([x, y]) => `${x + xaxis._offset},${y + yaxis._offset}`);
    path.setAttribute("class", "chosen-run");
    path.setAttribute("d", `M${corners.join("L")}`);
    place.querySelector(".main-svg").append(path);
  });
}
