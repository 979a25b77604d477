// The style sheet's colours for what is drawn on a canvas, light or dark.

const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

/**
 * @param {string} name of a custom property, without the dashes
 * @returns {string} the colour as it is now
 */
export function colour(name) {
  // By way of `color`, or `light-dark()` would come back as it is written.
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** @param {() => void} listener called when it becomes dark or light */
export function onThemeChange(listener) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", listener);
}
