// What two runs answered to one prompt, before and after training.

function generations() {
  const prompt = byId("prompt");
  if (!prompt) return;
  const runs = found.runs.filter((run) => Object.keys(run.after).length);
  fill(prompt, found.prompts.map((text) => short(text.replace(/\s+/g, " "), 90)));
  const names = runs.map((run) => run.label ? `${run.label} — ${run.name}` : run.name);
  const selects = [byId("run-left"), byId("run-right")];
  fill(selects[0], names, 0);
  const worst = runs.findLastIndex((run) => run.score !== null);
  fill(selects[1], names, worst > 0 ? worst : runs.length - 1);
  const show = () => {
    const at = Number(prompt.value);
    byId("question").textContent = found.prompts[at];
    byId("answers").replaceChildren(
      ...selects.map((select) => answer(runs[Number(select.value)], at)),
    );
  };
  for (const select of [prompt, ...selects]) select.addEventListener("change", show);
  show();
}

function answer(run, prompt) {
  const card = element("article");
  card.append(element("h3", run.label || run.name));
  const score = run.score === null ? "" : ` · ${number(run.score)}`;
  card.append(element("p", run.name + score, "soft"));
  for (const [title, name, texts] of [
    ["Before training", "said before", run.before], ["After training", "said", run.after],
  ]) {
    if (texts[prompt] === undefined) continue;
    const said = element("p", found.texts[texts[prompt]], name);
    said.dir = "auto";
    card.append(element("h4", title), said);
  }
  return card;
}
