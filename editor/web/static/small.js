// The small parts of the page, one function each: `editor.web.parts` calls the one it needs.

// The example clips as a row of pictures that play when looked at. value: [{title}]
const examples = () => {
  const row = element.querySelector(".row");

  const card = (example, n) => {
    const video = make("video", {
      poster: address(`example/${n}.webp`), preload: "none", loop: true, playsinline: true, "aria-hidden": "true", tabindex: -1,
    });
    video.muted = true;
    const start = () => {
      if (calm()) return;
      if (!video.src) video.src = address(`example/${n}.mp4`);
      video.play().catch(() => {});
    };
    const node = make("button", {
      type: "button", class: "example", "data-testid": `example-${n}`,
      onclick: () => trigger("choose", { index: n }),
      onmouseenter: start, onfocus: start, onmouseleave: () => video.pause(), onblur: () => video.pause(),
    }, video, make("span", {}, example.title));
    return node;
  };

  const receive = () => row.replaceChildren(...(props.value || []).map(card));

  watch("value", receive);
  receive();
};

// The words the built-in model knows; a click puts one at the end of the sentence that was written in last.
// value: {about: html, groups: [{name, words}]}
const chips = () => {
  const list = element.querySelector(".groups");
  let field = null;

  document.addEventListener("focusin", (event) => {
    if (event.target.matches("#source textarea, #source input, #targets textarea")) field = event.target;
  });

  const put = (word) => {
    const target = field?.isConnected ? field : document.querySelector("#targets textarea");
    if (!target) return;
    const at = target === document.activeElement || field === target ? target.selectionStart : target.value.length;
    const before = target.value.slice(0, at), after = target.value.slice(target.selectionEnd ?? at);
    const gap = before && !/\s$/.test(before) ? " " : "";
    const tail = after && !/^\s/.test(after) ? " " : "";
    target.value = before + gap + word + tail + after;
    const end = (before + gap + word).length;
    target.setSelectionRange(end, end);
    target.dispatchEvent(new Event("input", { bubbles: true }));
  };

  const receive = () => {
    const value = props.value || { groups: [] };
    list.replaceChildren(...value.groups.map((group) => make(
      "div", { class: "group", role: "group", "aria-label": group.name }, make("span", { class: "kind" }, group.name),
      make("div", { class: "words" }, ...group.words.map((word) => button(word, () => put(word), { class: "chip" }))),
    )));
  };

  watch("value", receive);
  receive();
};

// What the clip shows, as a suggestion: it is written into the field only by a click, and goes when somebody writes.
// value: {text}
const suggestion = () => {
  const line = element.querySelector(".suggestion");
  const field = () => document.querySelector("#source textarea, #source input");

  const draw = () => {
    const text = props.value?.text || "";
    line.hidden = !text || Boolean(field()?.value.trim());
    line.replaceChildren(make("span", {}, _("It seems to show “{text}”.", { text }) + " "), button(_("Use this"), () => {
      const source = field();
      source.value = text;
      source.dispatchEvent(new Event("input", { bubbles: true }));
      source.focus();
    }, { class: "link-button", "data-testid": "use-suggestion" }));
  };

  document.addEventListener("input", (event) => { if (event.target === field()) draw(); });
  watch("value", draw);
  draw();
};

// The advanced settings: where their numbers come from, each one's default, and a way back where it differs.
// value: {origin, labels: {name: text}, defaults: {name: text}, differing: [name]}
const standing = () => {
  const line = element.querySelector(".origin");

  const draw = () => {
    const value = props.value;
    if (!value?.defaults) return;
    line.textContent = _("Numbers: {origin}.", { origin: value.origin });
    for (const [name, text] of Object.entries(value.defaults)) {
      const field = document.querySelector(`#set-${name}`);
      if (!field) continue;
      const differs = value.differing.includes(name);
      field.toggleAttribute("data-differs", differs);
      const now = `${text} ${differs}`;
      let note = field.querySelector(":scope > .default");
      if (note?.dataset.now === now) continue;
      note?.remove();
      note = make("p", { class: "default", "data-now": now }, _("Default for this model: {text}", { text }),
        differs ? button(_("Back to it"), () => trigger("back", { name }), {
          class: "link-button", "aria-label": _("{name}: back to {text}, the default for this model", { name: value.labels[name], text }),
        }) : null);
      field.append(note);
    }
  };

  // Fields come and go with the settings they depend on, and with the part of the page that holds them.
  let pause = 0;
  new MutationObserver((changes) => {
    const ours = (node) => node.classList?.contains("default");
    if (changes.every((change) => [...change.addedNodes, ...change.removedNodes].every(ours))) return;
    clearTimeout(pause);
    pause = setTimeout(draw, 50);
  }).observe(document.querySelector("#advanced") ?? element, { childList: true, subtree: true });

  watch("value", draw);
  draw();
};

// This visitor's edits. value: [{id, title, state, poster, marked}]
// It is always there, so it also takes files that are dropped anywhere on the page: clips, and settings of earlier edits.
const history = () => {
  const grid = element.querySelector(".grid");
  const none = element.querySelector(".none");

  const card = (job) => {
    const remove = button(_("Delete"), () => {
      if (remove.dataset.sure) { trigger("remove", { job: job.id }); return; }
      remove.dataset.sure = "yes";
      remove.textContent = _("Really?");
      setTimeout(() => { delete remove.dataset.sure; remove.textContent = _("Delete"); }, 4000);
    }, { class: "link-button", "aria-label": _("Delete this edit: {text}", { text: job.text }) });
    const open = make("button", {
      type: "button", class: "open", "data-testid": "history-open", "aria-label": _("Open: {text}", { text: job.text }),
      onclick: () => trigger("open", { job: job.id }),
    }, job.poster ? make("img", { src: address(job.poster), alt: "", loading: "lazy" }) : make("span", { class: "blank" }, job.title));
    return make("li", { "data-job": job.id }, open, make("p", { class: "marked", marked: job.marked }),
      make("div", { class: "row" }, make("span", { class: "state" }, job.when),
        job.final ? button(_("Edit again"), () => trigger("again", { job: job.id }), { class: "link-button" }) : null,
        job.final ? remove : null));
  };

  const receive = () => {
    const jobs = props.value || [];
    none.hidden = jobs.length > 0;
    grid.replaceChildren(...jobs.map(card));
  };

  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

  document.addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    const file = event.dataTransfer?.files?.[0];
    if (!file || event.target.closest("#upload")) return; // the field takes it by itself
    event.preventDefault();
    const clip = /\.json$/i.test(file.name) ? null : document.querySelector("#upload input[type=file]");
    // Gradio puts the field of an upload button in front of it
    const field = clip ?? document.querySelector("#settings-file")?.previousElementSibling;
    if (!field?.matches("input[type=file]")) return;
    const given = new DataTransfer();
    given.items.add(file);
    field.files = given.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });

  watch("value", receive);
  receive();
};
