// Making and finding elements. Text from others only ever becomes text, never HTML.

/**
 * @param {string} id
 * @returns {any} the element, of whatever kind it is in index.html
 */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * @param {string} tag
 * @param {string} className
 * @param {...(Node | string)} children
 */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

/**
 * Leaves the element alone when it says that already, so that nobody is told again.
 *
 * @param {Element} target
 * @param {string} text
 */
export function say(target, text) {
  if (target.textContent !== text) {
    target.textContent = text;
  }
}

/**
 * Appends to a list within what scrolls, and stays at its end unless somebody reads further up.
 *
 * @param {HTMLElement} list
 * @param {Element} item
 * @param {number} limit older items than so many are dropped
 */
export function appendTo(list, item, limit) {
  const view = list.parentElement ?? list;
  const isAtEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 40;
  list.append(item);
  while (list.childElementCount > limit) {
    list.firstElementChild?.remove();
  }
  if (isAtEnd) {
    view.scrollTop = view.scrollHeight;
  }
}
