// What stands below the picture: sentences, files, numbers, recipe. One scope with stage.js, whose `view`, `job`,
// `chosen` and `way` it shows.

// The words of the result that is compared, where it has their maps: pointing at one, with mouse, keys or finger, lays
// over the player where the model looked for it. A click or a tap keeps it there until the next.
const pointing = { at: null, held: null, shown: () => {} };
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !(pointing.at || pointing.held)) return;
  pointing.at = pointing.held = null;
  pointing.shown();
});

const wordLine = (result) => {
  const hint = make("span", {}, _("Point at a word to see where the model looked for it."));
  const said = make("span", { role: "status", "data-testid": "word-said" });
  const nodes = new Map();
  pointing.at = pointing.held = null;
  pointing.shown = () => {
    const word = pointing.at ?? pointing.held;
    player.look(word?.rows ?? null);
    hint.hidden = Boolean(word);
    said.textContent = word ? _("Where the model looked for “{word}”", { word: word.text }) : "";
    for (const [other, node] of nodes) node.setAttribute("aria-pressed", String(other === pointing.held));
  };
  const point = (word) => { pointing.at = word; pointing.shown(); };
  const node = (word) => {
    if (!word.rows) return word.text;
    const face = button(word.text, () => {
      pointing.held = pointing.held === word ? null : word;
      point(null);
    }, {
      class: "word", "data-testid": "word",
      onpointerenter: (event) => event.pointerType !== "touch" && point(word),
      onpointerleave: () => point(null),
      onfocus: () => face.matches(":focus-visible") && point(word),
      onblur: () => point(null),
    });
    nodes.set(word, face);
    return face;
  };
  const line = make("p", { class: "marked words", role: "group", "aria-label": _("Where each word was looked for") });
  for (const word of result.words) line.append(word.mark ? make(word.mark, {}, node(word)) : node(word), " ");
  player.read(address(result.word_maps), result.maps);
  pointing.shown();
  return make("div", { class: "prompts" }, line, make("p", { class: "made" }, hint, said));
};

const pointable = () => (way === "compare" && view.results[chosen]?.words ? view.results[chosen] : null);

const prompts = () => {
  if (view.targets.length < 2 || !view.results.length) {
    return make("div", { class: "prompts" }, ...view.targets.map((t) => make("p", { class: "marked", marked: t.marked })));
  }
  return make("div", { class: "prompts", role: "group", "aria-label": _("Results") }, ...view.targets.map((target, n) => {
    const node = button("", () => look(way === "all" ? "compare" : way, n), {
      class: "marked", "aria-pressed": String(n === chosen),
    });
    node.append(make("span", { marked: target.marked }));
    return node;
  }));
};

const share = () => {
  const node = button(_("Copy link"), async () => {
    const url = linked(job.link || location.href);
    try {
      await navigator.clipboard.writeText(url);
      node.textContent = _("Link copied");
    } catch {
      window.prompt(_("The link to this edit:"), url);
    }
    setTimeout(() => { node.textContent = _("Copy link"); }, 2500);
  }, { class: "plain-button", "data-testid": "copy-link" });
  return node;
};

// A browser that cannot copy GIFs saves them.
const copyGif = () => {
  const node = button(_("Copy as GIF"), async () => {
    node.disabled = true;
    node.textContent = _("Making the GIF");
    try {
      const answer = await fetch(address(view.results[chosen].gif));
      if (!answer.ok) throw new Error(String(answer.status));
      const gif = await answer.blob();
      if (window.ClipboardItem?.supports?.("image/gif")) {
        await navigator.clipboard.write([new ClipboardItem({ "image/gif": gif })]);
        node.textContent = _("GIF copied");
      } else {
        const url = URL.createObjectURL(gif);
        make("a", { href: url, download: "recast.gif" }).click();
        setTimeout(() => URL.revokeObjectURL(url), 60000);
        node.textContent = _("GIF saved");
      }
    } catch {
      node.textContent = _("No GIF could be made");
    }
    node.disabled = false;
    setTimeout(() => { node.textContent = _("Copy as GIF"); }, 2500);
  }, { class: "plain-button", "data-testid": "copy-gif" });
  return node;
};

// Into the form with it, and the cursor into the sentence that is to change.
const otherWords = (id) => {
  delete document.body.dataset.shared;
  trigger("again", { job: id });
  const until = Date.now() + 8000;
  const look = () => {
    const field = document.querySelector("#targets textarea");
    if (field?.offsetParent && document.querySelector("#clip video")) {
      field.focus();
      field.scrollIntoView({ block: "center", behavior: calm() ? "auto" : "smooth" });
    } else if (Date.now() < until) setTimeout(look, 100);
  };
  look();
};

// What people do with a result: push it, pull it back, say something else; and the takes made so far.
const next = () => {
  if (!job || !view.final || !view.clip) return null;
  const nodes = [];
  const step = (name, text, by) => {
    if (view.steps?.[name]) {
      nodes.push(button(text, () => {
        delete document.body.dataset.shared;
        trigger("vary", { job: job.id, step: by });
      }, { class: "plain-button", "data-testid": name }));
    }
  };
  if (view.state === "done") {
    step("closer", _("Closer to the clip"), -1);
    step("stronger", _("Stronger"), 1);
  }
  const text = job.mine ? _("Other words") : _("Try with this clip");
  nodes.push(button(text, () => otherWords(job.id), { class: "plain-button", "data-testid": "again" }));
  if (takes.length > 1) {
    nodes.push(make("div", { class: "ways", role: "group", "aria-label": _("Strengths made so far") }, ...takes.map((take) =>
      button(take.label, () => trigger("open", { job: take.id }), { "aria-pressed": String(take.id === job.id) }))));
  }
  return make("div", { class: "actions next" }, ...nodes);
};

const actions = () => {
  const nodes = [];
  const result = view.results[chosen];
  const file = (path, text) =>
    make("a", { class: "plain-button", href: `${address(path)}?download`, download: true }, text);
  if (!job) {
    const again = button(_("Make it again"), () => trigger("make", { index: example }), {
      class: "solid-button", "data-testid": "make-again",
    });
    return make("div", { class: "actions" }, again, file(result.edited, _("Download")), copyGif());
  }
  if (result) {
    nodes.push(
      make("a", { class: "solid-button", href: `${address(result.edited)}?download`, download: true }, _("Download")),
      file(result.side_by_side, _("Side by side")), file(result.manifest, _("Manifest")),
      copyGif(),
    );
  }
  nodes.push(share());
  return make("div", { class: "actions" }, ...nodes);
};

const lost = () => (astray.length
  ? make("p", { class: "made", role: "status", "data-testid": "astray" },
    _("The link also asks for {what}, which this edit does not have.", { what: astray.join(_(" and ")) }))
  : null);

const afresh = () => make("div", { class: "actions" }, make("a", { class: "plain-button", href: "./", "data-testid": "afresh" }, _("Start afresh")));

const made = () => (view.made ? make("p", { class: "made", "data-testid": "made" }, view.made) : null);

const facts = () => {
  const result = view.results[chosen];
  if (!result || !result.numbers.length) return null;
  return make("dl", { class: "facts" }, ...result.numbers.map((n) =>
    make("div", { title: n.meaning }, make("dt", {}, n.label), make("dd", {}, n.value))));
};

// How good it is, in words; each with what it means.
const card = () => {
  const rows = view.results[chosen]?.card || [];
  if (!rows.length) return null;
  return make("dl", { class: "card", "aria-label": _("Quality"), "data-testid": "card" }, ...rows.map((row) =>
    make("div", {}, make("dt", {}, row.label), make("dd", {}, make("strong", {}, row.word), ` ${row.value}`),
      make("dd", { class: "meaning" }, row.meaning))));
};

// What the engine chose by itself, or could not do, is in the manifest.
const remarks = () => {
  const list = make("ul", { class: "remarks" });
  const result = view.results[chosen];
  manifestOf(result).then((manifest) => {
    list.replaceChildren(...(manifest.notes || []).map((text) => make("li", {}, text)));
  });
  return list;
};

const recipe = () => {
  const rows = [[_("The clip shows"), view.source], ...view.targets.map((t) => [_("It should show"), t.text]), ...view.settings];
  return make("details", { class: "recipe" }, make("summary", {}, _("How it was made")),
    make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])), remarks());
};

const drawBelow = () => {
  const open = below.querySelector("details")?.open ?? Boolean(job && !job.mine);
  const result = pointable();
  if (!result) player.read(null);
  const sentences = [result && view.results.length < 2 ? null : prompts(), result && wordLine(result)];
  below.replaceChildren(...[...sentences, lost(), made(), next(), actions(), card(), facts(), recipe()].filter(Boolean));
  if (open) below.querySelector("details").open = true;
};
