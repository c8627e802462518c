// Builds the page from descriptions of elements, and changes only what differs: focus, open details and what was typed stay.
// No text is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";
const described = new WeakMap(); // element → the description that it has now

// h describes an element. Props are attributes; "on…" are event handlers; "key" identifies an element among its siblings; "initial" are
// properties that are set once, when the element is made; "leave" keeps the content as it is.
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, children: flatten(children) };
}

function flatten(children) {
  return children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false && c !== "").map((c) => (typeof c === "object" ? c : String(c)));
}

// render makes the children of an element match their descriptions.
export function render(parent, ...children) {
  patchChildren(parent, flatten(children));
}

function patchChildren(parent, wanted) {
  const keyed = new Map();
  const plain = [];
  for (const node of parent.childNodes) {
    const key = described.get(node)?.props.key;
    if (key !== undefined) keyed.set(key, node);
    else plain.push(node);
  }
  let place = parent.firstChild;
  for (const want of wanted) {
    let node;
    if (want.props?.key !== undefined) {
      node = keyed.get(want.props.key);
      keyed.delete(want.props.key);
    } else {
      const i = plain.findIndex((n) => fits(n, want));
      if (i >= 0) [node] = plain.splice(i, 1);
    }
    if (node && fits(node, want)) update(node, want);
    else {
      node?.remove();
      if (node === place) place = null;
      node = create(want, parent.namespaceURI);
    }
    if (place && !place.parentNode) place = null;
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of [...keyed.values(), ...plain]) node.remove();
}

function fits(node, want) {
  if (typeof want === "string") return node.nodeType === Node.TEXT_NODE;
  return node.nodeType === Node.ELEMENT_NODE && node.localName === want.tag && described.get(node)?.props.key === want.props.key;
}

function create(want, namespace) {
  if (typeof want === "string") return document.createTextNode(want);
  const node = want.tag === "svg" || namespace === SVG ? document.createElementNS(SVG, want.tag) : document.createElement(want.tag);
  described.set(node, { tag: want.tag, props: {}, children: [] });
  update(node, want);
  for (const [name, value] of Object.entries(want.props.initial ?? {})) node[name] = value;
  return node;
}

function update(node, want) {
  if (typeof want === "string") {
    if (node.data !== want) node.data = want;
    return;
  }
  const before = described.get(node)?.props ?? {};
  described.set(node, want);
  for (const name of new Set([...Object.keys(before), ...Object.keys(want.props)])) {
    if (name === "key" || name === "initial" || name === "leave") continue;
    const value = want.props[name];
    if (name.startsWith("on")) node[name] = value ?? null;
    else if (before[name] !== value) setAttribute(node, name, value);
  }
  if (!want.props.leave) patchChildren(node, want.children);
}

function setAttribute(node, name, value) {
  if (value === undefined || value === null || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}
