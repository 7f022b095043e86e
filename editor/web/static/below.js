// What stands below the picture: sentences, files, numbers, recipe. One scope with stage.js, whose `view`, `job`,
// `chosen` and `way` it shows.

const prompts = () => {
  if (view.targets.length < 2 || !view.results.length) {
    return make("div", { class: "prompts" }, ...view.targets.map((t) => make("p", { class: "marked", marked: t.marked })));
  }
  return make("div", { class: "prompts", role: "group", "aria-label": "Results" }, ...view.targets.map((target, n) => {
    const node = button("", () => { chosen = n; if (way === "all") way = "compare"; drawDone(); }, {
      class: "marked", "aria-pressed": String(n === chosen),
    });
    node.append(make("span", { marked: target.marked }));
    return node;
  }));
};

const share = () => {
  const node = button("Copy link", async () => {
    const url = job.link || location.href;
    try {
      await navigator.clipboard.writeText(url);
      node.textContent = "Link copied";
    } catch {
      window.prompt("The link to this edit:", url);
    }
    setTimeout(() => { node.textContent = "Copy link"; }, 2500);
  }, { class: "plain-button", "data-testid": "copy-link" });
  return node;
};

const actions = () => {
  const nodes = [];
  const result = view.results[chosen];
  const file = (path, text) =>
    make("a", { class: "plain-button", href: `${address(path)}?download`, download: true }, text);
  if (result) {
    nodes.push(
      make("a", { class: "solid-button", href: `${address(result.edited)}?download`, download: true }, "Download"),
      file(result.side_by_side, "Side by side"), file(result.manifest, "Manifest"),
    );
  }
  nodes.push(share());
  if (view.final && view.clip) {
    const text = job.mine ? "Edit again" : "Try with this clip";
    const again = () => { delete document.body.dataset.shared; trigger("again", { job: job.id }); };
    nodes.push(button(text, again, { class: "plain-button", "data-testid": "again" }));
  }
  return make("div", { class: "actions" }, ...nodes);
};

const facts = () => {
  const result = view.results[chosen];
  if (!result || !result.numbers.length) return null;
  return make("dl", { class: "facts" }, ...result.numbers.map((n) =>
    make("div", { title: n.meaning }, make("dt", {}, n.label), make("dd", {}, n.value))));
};

// What the engine chose by itself, or could not do, is in the manifest.
const remarks = () => {
  const list = make("ul", { class: "remarks" });
  const result = view.results[chosen];
  if (!result) return list;
  fetch(address(result.manifest)).then((answer) => answer.json()).then((manifest) => {
    list.replaceChildren(...(manifest.notes || []).map((text) => make("li", {}, text)));
  }).catch(() => {});
  return list;
};

const recipe = () => {
  const rows = [["The clip shows", view.source], ...view.targets.map((t) => ["It should show", t.text]), ...view.settings];
  return make("details", { class: "recipe" }, make("summary", {}, "How it was made"),
    make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])), remarks());
};

const drawBelow = () => {
  const open = below.querySelector("details")?.open ?? !job.mine;
  below.replaceChildren(...[prompts(), actions(), facts(), recipe()].filter(Boolean));
  if (open) below.querySelector("details").open = true;
};
