// The levels of a setting in groups that eyes can tell apart, each with its colour.

const AT_MOST = 7;

function bands(setting) {
  const levels = setting.levels.map((text, at) => ({ text, levels: [at] }));
  const others = { text: "others", levels: indices(levels.slice(AT_MOST - 1)) };
  const groups = levels.length <= AT_MOST ? levels
    : setting.ordered ? ranges(levels)
    : [...levels.slice(0, AT_MOST - 1), others];
  return groups.map((group, at) => ({
    ...group,
    colour: setting.ordered && groups.length > 2
      ? along(at / (groups.length - 1))
      : categories()[at % AT_MOST],
  }));
}

const indices = (groups) => groups.flatMap((group) => group.levels);

// Neighbouring levels together, the same number in each range.
function ranges(levels) {
  const groups = [];
  for (let at = 0; at < AT_MOST - 1; at += 1) {
    const cut = (part) => Math.round(part * levels.length / (AT_MOST - 1));
    const part = levels.slice(cut(at), cut(at + 1));
    const [first, last] = [part[0], part[part.length - 1]];
    const text = part.length > 1 ? `${first.text} to ${last.text}` : first.text;
    groups.push({ text, levels: indices(part) });
  }
  return groups;
}
