// Everything in the order of the page; one part that fails leaves the others alone.

for (const part of parts) {
  try {
    part();
  } catch (error) {
    fault(`${part.name}: ${error.message}`);
  }
}
if (plots.size === 0) page.dataset.drawn = 0;

// A command can be copied; where the browser does not allow it, the command is selected.
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const command = button.previousElementSibling;
    getSelection().selectAllChildren(command);
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected";
    }
  });
}

// The part being read is marked in the contents.
const links = new Map(Array.from(
  document.querySelectorAll("nav.contents a"), (link) => [link.hash.slice(1), link],
));
const reading = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
for (const section of document.querySelectorAll("section")) reading.observe(section);
