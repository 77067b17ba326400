// The switch between the editions, which keeps the place; and the search, which Pagefind does.

const twin = document.querySelector("#twin");
twin.addEventListener("click", () => {
  // Sections are called s1, s2, … in both editions: the last one that begins above the middle of the window.
  const passed = [...document.querySelectorAll("[id]")].filter(
    (place) => /^s\d+$/.test(place.id) && place.getBoundingClientRect().top < innerHeight / 2,
  );
  const here = passed.at(-1)?.id;
  twin.hash = here && here !== "s0" ? here : "";
  const query = document.querySelector("#search")?.elements.q.value;
  if (query) twin.search = new URLSearchParams({ q: query });
});

async function search(form) {
  const { q } = form.elements;
  const [found, results] = ["#found", "#results"].map((name) => document.querySelector(name));
  let pagefind;
  try {
    pagefind = await import("../../pagefind/pagefind.js");
    await pagefind.options({ ranking: { pageLength: 0.1, metaWeights: { title: 10 } } });
  } catch {
    found.textContent = form.dataset.needsServer;
    return;
  }
  const show = async () => {
    const text = q.value.trim();
    history.replaceState(null, "", text ? `?${new URLSearchParams({ q: text })}` : location.pathname);
    const answer = text ? await pagefind.search(text) : { results: [] };
    const pages = await Promise.all(answer.results.slice(0, 20).map((result) => result.data()));
    if (q.value.trim() !== text) return; // somebody typed on
    const said = answer.results.length ? form.dataset.found : form.dataset.nothing;
    found.textContent = text && said.replace("{n}", answer.results.length).replace("{text}", text);
    results.replaceChildren(...pages.map(entry));
  };
  q.value = new URLSearchParams(location.search).get("q") ?? "";
  form.addEventListener("submit", (event) => event.preventDefault());
  q.addEventListener("input", show);
  await show();
  q.focus();
}

function entry(page) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = page.url;
  link.textContent = page.meta.title;
  const excerpt = document.createElement("p");
  excerpt.innerHTML = page.excerpt; // Pagefind's own: the page's text, with <mark> around what was found
  item.append(link, excerpt);
  return item;
}

const form = document.querySelector("#search");
if (form) search(form);
