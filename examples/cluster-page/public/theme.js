// The style sheet's colours for what is drawn on a canvas, light or dark: asked for at each drawing, so
// that a change shows within a second.

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
