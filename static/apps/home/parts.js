/** Pieces of pages, made without a library. */

/** An element: `make("a.tile", { href }, "text", another)`. Attributes that are null or false are left out, functions listen. */
export function make(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** The icon of an app; its first letter where there is none, or it does not come. */
export function iconOf(address, name) {
  const letter = () => make("span.icon.letter", { "aria-hidden": "true" }, [...name][0]?.toUpperCase() ?? "?");
  if (!address) return letter();
  const image = make("img.icon", { src: address, alt: "", width: 56, height: 56, error: () => image.replaceWith(letter()) });
  return image;
}

/** Put new children in a place; what has the focus keeps it, by its `id`. */
export function show(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...children.flat().filter(Boolean));
  if (focused) document.getElementById(focused)?.focus();
}
