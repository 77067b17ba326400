// The switch between the editions, which keeps the place; and the search, which Pagefind does.
{
  const READ = 160; // pixels from the window's top: what begins there is being read
  const twin = document.querySelector("#twin");
  twin.addEventListener("click", () => {
    // Sections are called s1, s2, … in both editions: the last one that begins at the window's top or above.
    const passed = [...document.querySelectorAll("[id]")].filter(
      (place) => /^s\d+$/.test(place.id) && place.getBoundingClientRect().top < READ,
    );
    const here = passed.at(-1)?.id;
    twin.hash = here && here !== "s0" ? here : "";
    const query = document.querySelector("#search")?.elements.q.value;
    if (query) twin.search = new URLSearchParams({ q: query });
  });

  // What the theme leaves out for those who read by ear or without a mouse.
  for (const caption of document.querySelectorAll("p.caption[role=heading]")) caption.ariaLevel = 2;
  const boxes = document.querySelectorAll("pre, .formula, .cell_output, .table-wrapper, .output");
  // A shadow on the right while there is more to scroll to.
  const hint = (box) => box.classList.toggle("reaches", box.scrollLeft + box.clientWidth + 1 < box.scrollWidth);
  for (const box of boxes) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    hint(box);
    box.addEventListener("scroll", () => hint(box), { passive: true });
  }
  addEventListener("resize", () => boxes.forEach(hint));

  async function search(form) {
    const { q } = form.elements;
    const [found, list] = ["#found", "#results"].map((name) => document.querySelector(name));
    let pagefind;
    try {
      pagefind = await import(new URL("../../pagefind/pagefind.js", document.querySelector("script[src*='site.js']").src));
      await pagefind.options({ ranking: { pageLength: 0.1, metaWeights: { title: 10 } } });
    } catch {
      found.textContent = form.dataset.needsServer;
      return;
    }
    const show = async () => {
      const text = q.value.trim();
      history.replaceState(null, "", text ? `?${new URLSearchParams({ q: text })}` : location.pathname);
      const results = await pagesWith(pagefind, text);
      const pages = await Promise.all(results.slice(0, 20).map((result) => result.data()));
      if (q.value.trim() !== text) return; // somebody typed on
      const said = results.length ? form.dataset.found : form.dataset.nothing;
      found.textContent = text && said.replace("{n}", results.length).replace("{text}", () => text);
      list.replaceChildren(...pages.map(entry));
    };
    q.value = new URLSearchParams(location.search).get("q") ?? "";
    form.addEventListener("submit", (event) => event.preventDefault());
    q.addEventListener("input", show);
    await show();
    q.focus();
  }

  // Pagefind takes letters with and without marks for the same, but đ for another letter than d: a text typed without marks
  // is searched for in every spelling. A page counts by the spelling that fits it best.
  const MOST_SPELLINGS = 16;

  function spellings(text) {
    if (document.documentElement.lang !== "vi") return [text];
    let all = [""];
    for (const word of text.match(/\s+|\S+/g)) {
      const letters = /[^\x00-\x7f]/.test(word) ? [word] : [...word];
      for (const letter of letters) {
        const choices = /^d$/i.test(letter) && all.length < MOST_SPELLINGS ? [letter, letter === "d" ? "đ" : "Đ"] : [letter];
        all = all.flatMap((start) => choices.map((next) => start + next));
      }
    }
    return all;
  }

  async function pagesWith(pagefind, text) {
    if (!text) return [];
    const answers = await Promise.all(spellings(text).map((spelling) => pagefind.search(spelling)));
    const best = new Map();
    for (const result of answers.flatMap((answer) => answer.results)) {
      if (!(best.get(result.id)?.score >= result.score)) best.set(result.id, result);
    }
    return [...best.values()].sort((a, b) => b.score - a.score);
  }

  function entry(page) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = page.url;
    link.textContent = page.meta.title;
    const excerpt = document.createElement("p");
    excerpt.innerHTML = page.excerpt; // Pagefind's own: the page's text, with <mark> around what was found
    const places = page.sub_results.filter((place) => place.url.includes("#")).slice(0, 3);
    const within = document.createElement("p");
    places.forEach((place, i) => {
      const there = document.createElement("a");
      [there.href, there.textContent] = [place.url, place.title];
      within.append(i ? " · " : "", there);
    });
    item.append(link, excerpt, within);
    return item;
  }

  const form = document.querySelector("#search");
  if (form) search(form);
}
