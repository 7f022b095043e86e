// Small helpers shared by the page's own components. Text always enters the page as text, never as markup;
// the only markup accepted is the server's escaped word marking (ins and del).

// A sentence in the visitor's language, its fields filled; the server puts the words into the head of the page.
const words = JSON.parse(document.querySelector("#words")?.textContent ?? "{}");
const _ = (sentence, values = {}) => (words[sentence] ?? sentence).replace(/\{(\w+)\}/g, (field, name) => values[name] ?? field);

const number = (value, digits) => value.toLocaleString(document.documentElement.lang || "en", {
  minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false,
});

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "marked") node.innerHTML = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

const button = (text, onclick, attributes = {}) => make("button", { type: "button", onclick, ...attributes }, text);

const icon = (name) => {
  const paths = {
    play: "M7 5v14l12-7z",
    pause: "M7 5h4v14H7zM13 5h4v14h-4z",
    sound: "M4 9v6h4l5 4V5L8 9zM16 8.5a5 5 0 0 1 0 7",
    silent: "M4 9v6h4l5 4V5L8 9zM16 9l5 6M21 9l-5 6",
  };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "rc-icon");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", paths[name]);
  svg.append(path);
  return svg;
};

const clock = (seconds) => _("{n} s", { n: number(seconds, 1) });

const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

// Addresses are relative to the page, so that they also hold behind a share link or below a sub-path.
const address = (path) => new URL(path, document.baseURI.split(/[?#]/)[0]).href;
