// The state of the view: kept in the address, so that a view can be shared.
const DATA = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);

/** Return a new element; children and attributes are text, never markup. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Return a link; addresses are the page's own relative ones. */
function link(text, ...parts) {
  return element("a", { href: parts.join("/") }, text);
}

const state = {};
const defaults = {};

/** Take the state from the address. */
function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(defaults)) state[key] = given.get(key) ?? defaults[key];
}

/** Put what departs from the defaults into the address. */
function writeState() {
  const kept = new URLSearchParams();
  for (const key of Object.keys(defaults)) if (state[key] !== defaults[key]) kept.set(key, state[key]);
  const hash = kept.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}
