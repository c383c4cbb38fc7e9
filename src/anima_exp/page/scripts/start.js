// Everything in the order of the page; one part that fails leaves the others alone.

for (const part of parts) {
  try {
    part();
  } catch (error) {
    fault(`${part.name}: ${error.message}`);
  }
}
if (plots.size === 0) page.dataset.drawn = 0;

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
