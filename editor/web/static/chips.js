// The words the built-in model knows; a click puts one at the end of the sentence that was written in last.
// value: {about: html, groups: [{name, words}]}

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
